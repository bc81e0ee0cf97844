/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls libpcap as intrusion detection systems do that have a thread for each capture: the same functions, in their
 * order, from their threads. Prints every packet, thread after thread, and the statistics.
 *
 *     ids_driver (snort | suricata) (-r FILE | -i DEVICE) [-s SNAPLEN] [-b BUFFER] [-f FILTER] [-z THREADS] [-n
 * PACKETS]
 *
 * snort: the pcap module of libdaq 3.0 (Snort 3). A filter is compiled for a dead handle before the device is open. The
 * first packet of a batch is asked for without blocking, and when there is none, again with: pcap_setnonblock() goes to
 * and fro all the time; the others of the batch are asked for in whatever mode that has left. Statistics are what was
 * counted since the start, and are asked for once more before the handle is closed.
 *
 * suricata: source-pcap.c of Suricata 7. pcap_dispatch() of 64 packets until the main thread, which waits for all of
 * them, calls pcap_breakloop(). A savefile's first packet is read by pcap_next_ex(), and its callback breaks the loop.
 *
 * -n: each thread reads so many packets, of a savefile all by default. Exit code 0; 1 when libpcap refuses.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MOST      8
#define SNORT_BATCH       64
#define SNORT_TIMEOUT_MS  1000
#define SURICATA_DISPATCH 64
#define SURICATA_WAIT_MS  500

struct options {
	const char *file, *device, *filter;
	int snap_len, buffer;
	uint64_t packets;           /* 0: to the end of the savefile */
	pthread_mutex_t *compiling; /* libpcap 1.7's compiler was not to be called by two threads: all still lock */
	pthread_barrier_t *begun;
};

/* One thread with its capture. out and failed: its own until it has ended. handle: set before `begun`. */
struct capture {
	const struct options *options;
	pcap_t *handle;
	FILE *out;
	char *text;
	size_t text_len;
	_Atomic uint64_t packets; /* the main thread looks at it */
	bool nonblocking, failed;
	atomic_bool stop, ended;
};

static void
print_packet(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	struct capture *c = (struct capture *)(void *)user;

	fprintf(c->out, "%ld.%06ld cap %u len %u ", (long)header->ts.tv_sec, (long)header->ts.tv_usec, header->caplen,
		header->len);
	for (uint32_t i = 0; i < header->caplen; i++)
		fprintf(c->out, "%02x", data[i]);
	fprintf(c->out, "\n");
	atomic_fetch_add(&c->packets, 1);
}

static bool
enough(const struct capture *c)
{
	return c->options->packets && atomic_load(&c->packets) >= c->options->packets;
}

static bool
refuse(struct capture *c, const char *what, const char *why)
{
	fprintf(c->out, "%s: %s\n", what, why);
	c->failed = true;
	return false;
}

static bool
install_filter(struct capture *c, uint32_t netmask)
{
	const struct options *o = c->options;
	struct bpf_program program;
	int rc;

	if (!o->filter)
		return true;
	pthread_mutex_lock(o->compiling);
	rc = pcap_compile(c->handle, &program, o->filter, 1, netmask);
	pthread_mutex_unlock(o->compiling);
	if (rc < 0)
		return refuse(c, "compile", pcap_geterr(c->handle));
	rc = pcap_setfilter(c->handle, &program);
	pcap_freecode(&program);
	return rc == 0 || refuse(c, "setfilter", pcap_geterr(c->handle));
}

static bool
print_statistics(struct capture *c, const struct pcap_stat *since)
{
	struct pcap_stat now = { 0 };

	if (pcap_stats(c->handle, &now) != 0)
		return refuse(c, "stats", pcap_geterr(c->handle));
	fprintf(c->out, "received %u dropped %u by the interface %u\n", now.ps_recv - since->ps_recv,
		now.ps_drop - since->ps_drop, now.ps_ifdrop);
	return true;
}

static bool
activate(struct capture *c, bool immediate, int timeout_ms)
{
	const struct options *o = c->options;
	char error[PCAP_ERRBUF_SIZE] = "";
	int rc = 0;

	c->handle = pcap_create(o->device, error);
	if (!c->handle)
		return refuse(c, "create", error);
	if (immediate)
		rc |= pcap_set_immediate_mode(c->handle, 1);
	rc |= pcap_set_snaplen(c->handle, o->snap_len);
	rc |= pcap_set_promisc(c->handle, 1);
	rc |= pcap_set_timeout(c->handle, timeout_ms);
	if (immediate || o->buffer > 0) /* Suricata sets none when it has none; libdaq sets 0 then */
		rc |= pcap_set_buffer_size(c->handle, o->buffer);
	if (rc != 0)
		return refuse(c, "options", pcap_geterr(c->handle));
	rc = pcap_activate(c->handle);
	return rc == 0 || refuse(c, pcap_statustostr(rc), pcap_geterr(c->handle));
}

/* ---- as libdaq 3's pcap module */

static bool
snort_check_filter(struct capture *c)
{
	pcap_t *dead = pcap_open_dead(DLT_EN10MB, c->options->snap_len);
	struct bpf_program program;
	bool sound = true;

	if (c->options->filter) {
		pthread_mutex_lock(c->options->compiling);
		sound = pcap_compile(dead, &program, c->options->filter, 1, 0) == 0;
		pthread_mutex_unlock(c->options->compiling);
		if (sound)
			pcap_freecode(&program);
		else
			refuse(c, "compile", pcap_geterr(dead));
	}
	pcap_close(dead);
	return sound;
}

static bool
snort_set_nonblocking(struct capture *c, bool nonblocking)
{
	char error[PCAP_ERRBUF_SIZE] = "";

	if (nonblocking == c->nonblocking)
		return true;
	c->nonblocking = nonblocking;
	return pcap_setnonblock(c->handle, nonblocking, error) == 0 || refuse(c, "setnonblock", error);
}

static bool
snort_start(struct capture *c)
{
	uint32_t net, mask = htonl(0xffffff00);
	char error[PCAP_ERRBUF_SIZE] = "";
	FILE *file;

	if (!snort_check_filter(c))
		return false;
	if (c->options->file) {
		file = strcmp(c->options->file, "-") == 0 ? stdin : fopen(c->options->file, "rb");
		if (!file)
			return refuse(c, "open", c->options->file);
		c->handle = pcap_fopen_offline(file, error);
		if (!c->handle) {
			fclose(file);
			return refuse(c, "open", error);
		}
	} else {
		if (!activate(c, true, SNORT_TIMEOUT_MS) || !snort_set_nonblocking(c, true))
			return false;
		if (pcap_lookupnet(c->options->device, &net, &mask, error) < 0)
			mask = htonl(0xffffff00);
	}
	return install_filter(c, mask);
}

/* At most a batch; what the call after the last packet said: 1 when the batch is full. */
static int
snort_receive(struct capture *c)
{
	struct pcap_pkthdr *header;
	const u_char *data;
	int rc = 1;

	for (int i = 0; i < SNORT_BATCH && !enough(c); i++) {
		if (c->options->device && i == 0) {
			if (!snort_set_nonblocking(c, true))
				return PCAP_ERROR;
			rc = pcap_next_ex(c->handle, &header, &data);
			if (rc == 0) {
				if (!snort_set_nonblocking(c, false))
					return PCAP_ERROR;
				rc = pcap_next_ex(c->handle, &header, &data);
			}
		} else {
			rc = pcap_next_ex(c->handle, &header, &data);
		}
		if (rc != 1)
			break;
		print_packet((u_char *)c, header, data);
	}
	return rc;
}

static void
snort_run(struct capture *c)
{
	struct pcap_stat since = { 0 };
	int rc;

	if (c->options->device && pcap_stats(c->handle, &since) != 0)
		refuse(c, "stats", pcap_geterr(c->handle));
	do
		rc = snort_receive(c);
	while (rc >= 0 && !enough(c));
	if (rc == PCAP_ERROR)
		refuse(c, "next", pcap_geterr(c->handle));
	fprintf(c->out, "link type %d\n", pcap_datalink(c->handle));
	if (c->options->device)
		print_statistics(c, &since);
}

/* ---- as Suricata's source-pcap.c and source-pcap-file-helper.c */

static bool
suricata_start(struct capture *c)
{
	char error[PCAP_ERRBUF_SIZE] = "";

	if (c->options->device)
		return activate(c, false, SURICATA_WAIT_MS) && install_filter(c, 0);
	c->handle = pcap_open_offline(c->options->file, error);
	return c->handle ? install_filter(c, 0) : refuse(c, "open", error);
}

/* Told to stop in the middle of a savefile, Suricata breaks the loop in its callback. */
static void
suricata_packet(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	struct capture *c = (struct capture *)(void *)user;

	print_packet(user, header, data);
	if (c->options->file && enough(c)) {
		atomic_store(&c->stop, true);
		pcap_breakloop(c->handle);
	}
}

static void
suricata_run(struct capture *c)
{
	static const struct pcap_stat nothing;
	struct pcap_pkthdr *header;
	struct pcap_stat now;
	const u_char *data;
	int rc;

	fprintf(c->out, "link type %d\n", pcap_datalink(c->handle));
	if (c->options->file && pcap_next_ex(c->handle, &header, &data) == 1)
		suricata_packet((u_char *)c, header, data);
	do {
		rc = pcap_dispatch(c->handle, SURICATA_DISPATCH, suricata_packet, (u_char *)c);
		if (c->options->device)
			pcap_stats(c->handle, &now);
	} while (!atomic_load(&c->stop) && (c->options->device ? rc != PCAP_ERROR : rc > 0));
	if (rc == PCAP_ERROR)
		refuse(c, "dispatch", pcap_geterr(c->handle));
	if (c->options->device)
		print_statistics(c, &nothing);
}

/* ---- both */

struct system_form {
	const char *name;
	bool (*start)(struct capture *c);
	void (*run)(struct capture *c);
};

static const struct system_form forms[] = {
	{ "snort", snort_start, snort_run },
	{ "suricata", suricata_start, suricata_run },
};

struct task {
	struct capture capture;
	const struct system_form *form;
	pthread_t thread;
};

static void *
work(void *arg)
{
	struct task *task = arg;
	struct capture *c = &task->capture;
	bool started = task->form->start(c);

	pthread_barrier_wait(c->options->begun);
	if (started)
		task->form->run(c);
	atomic_store(&c->ended, true);
	return NULL;
}

/* Breaks each capture's loop when it has its packets, as often as it takes: a call may come between two dispatches. */
static void
supervise(struct task *tasks, int count)
{
	for (int ended = 0; ended < count;) {
		ended = 0;
		for (int i = 0; i < count; i++) {
			struct capture *c = &tasks[i].capture;

			if (atomic_load(&c->ended)) {
				ended++;
			} else if (enough(c) && c->options->device) {
				atomic_store(&c->stop, true);
				pcap_breakloop(c->handle);
			}
		}
		usleep(10000);
	}
}

static int
run(const struct options *o, const struct system_form *form, int count)
{
	struct task tasks[THREADS_MOST] = { 0 };
	int failed = 0;

	for (int i = 0; i < count; i++) {
		tasks[i].form = form;
		tasks[i].capture.options = o;
		tasks[i].capture.out = open_memstream(&tasks[i].capture.text, &tasks[i].capture.text_len);
		if (!tasks[i].capture.out || pthread_create(&tasks[i].thread, NULL, work, &tasks[i]) != 0)
			abort();
	}
	pthread_barrier_wait(o->begun);
	fprintf(stderr, "started\n");
	supervise(tasks, count);
	for (int i = 0; i < count; i++) {
		struct capture *c = &tasks[i].capture;

		pthread_join(tasks[i].thread, NULL);
		if (c->handle)
			pcap_close(c->handle);
		fclose(c->out);
		printf("thread %d: %" PRIu64 " packets\n%s", i, atomic_load(&c->packets), c->text);
		free(c->text);
		failed |= c->failed;
	}
	return failed;
}

int
main(int argc, char **argv)
{
	pthread_mutex_t compiling = PTHREAD_MUTEX_INITIALIZER;
	pthread_barrier_t begun;
	struct options o = { .snap_len = 1518, .compiling = &compiling, .begun = &begun };
	const struct system_form *form = NULL;
	int option, count = 1;

	for (size_t i = 0; argc > 1 && i < sizeof(forms) / sizeof(forms[0]); i++)
		if (strcmp(argv[1], forms[i].name) == 0)
			form = &forms[i];
	optind = 2;
	while (form && (option = getopt(argc, argv, "r:i:s:b:f:z:n:")) != -1) {
		switch (option) {
		case 'r':
			o.file = optarg;
			break;
		case 'i':
			o.device = optarg;
			break;
		case 's':
			o.snap_len = atoi(optarg);
			break;
		case 'b':
			o.buffer = atoi(optarg);
			break;
		case 'f':
			o.filter = optarg;
			break;
		case 'z':
			count = atoi(optarg);
			break;
		case 'n':
			o.packets = strtoull(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	if (!form || !o.file == !o.device || count < 1 || count > THREADS_MOST || (o.device && !o.packets))
		return 2;
	pthread_barrier_init(&begun, NULL, (unsigned)count + 1);
	return run(&o, form, count);
}

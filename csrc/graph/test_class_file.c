/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/class_file.h"
#include "graph/testing_packets.h"
#include "source/savefile.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define SECOND 1000000000u
#define T0     (1700000000ull * SECOND)

/* A folder of the test's own, the class's argument made of it, and its removal. */
struct folder {
	char path[64];
	char text[256];
	char name[256];
};

static void
folder_open(struct folder *d)
{
	strcpy(d->path, "/tmp/ffpf-test-file-XXXXXX");
	assert_non_null(mkdtemp(d->path));
}

static const char *
words(struct folder *d, const char *name, const char *rest)
{
	snprintf(d->text, sizeof(d->text), "path='%s/%s' %s", d->path, name, rest);
	return d->text;
}

static const char *
in_folder(struct folder *d, const char *name)
{
	snprintf(d->name, sizeof(d->name), "%s/%s", d->path, name);
	return d->name;
}

static void
folder_close(struct folder *d)
{
	static const char *const names[] = { "a.pcap",       "a b.pcapng",   "a-00001.pcap",
					     "a-00002.pcap", "a-00003.pcap", "a-00004.pcap" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(in_folder(d, names[i]));
	assert_int_equal(rmdir(d->path), 0);
}

/* Reads a file of ours with the reader of savefiles; -1 when there is none. Checks packet i against number first + i.
 */
static int
packets_in(const char *path, unsigned first, int64_t a_tick)
{
	const struct ffpf_savefile_config cfg = { .tick = FFPF_WANT_NS };
	FILE *fp = fopen(path, "rb");
	struct ffpf_reader *r = NULL;
	struct ffpf_error err;
	struct ffpf_batch b;
	unsigned n = 0;

	if (!fp)
		return -1;
	assert_int_equal(ffpf_savefile_open(&r, fp, &cfg, &err), 0);
	assert_int_equal(r->info.link_type, TEST_DLT_EN10MB);
	for (;;) {
		enum ffpf_outcome outcome = r->ops->next(r, &b);

		if (outcome == FFPF_END)
			break;
		assert_int_equal(outcome, FFPF_BATCH);
		for (uint32_t i = 0; i < b.count; i++, n++) {
			const int64_t ns = (int64_t)(T0 + (first + n) * (uint64_t)SECOND / 2 + 123456789);

			assert_int_equal(b.pkts[i].cap_len, 50 + (first + n) % 7);
			assert_int_equal(b.pkts[i].data[0], (uint8_t)(first + n));
			assert_int_equal(b.pkts[i].ts_sec * (int64_t)SECOND + b.pkts[i].ts_frac, ns / a_tick * a_tick);
		}
		r->ops->release(r, b.count);
	}
	r->ops->close(r);
	fclose(fp);
	return (int)n;
}

/* Packet `number`: every half second one. */
static uint32_t
write_packet(struct test_filter *f, unsigned number)
{
	uint8_t data[64] = { (uint8_t)number };

	return test_packet(f, data, 50 + number % 7, T0 + number * (uint64_t)SECOND / 2 + 123456789);
}

static void
files_hold_what_was_written_in_every_format(void **state)
{
	static const struct {
		const char *name, *rest;
		int64_t a_tick;
	} cases[] = {
		{ "a.pcap", "", 1 },
		{ "a.pcap", "precision=us", 1000 },
		{ "a b.pcapng", "", 1 },
		{ "a b.pcapng", "precision=us", 1000 },
		{ "a.pcap", "format=pcapng", 1 },
	};
	struct folder d;

	(void)state;
	folder_open(&d);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct test_filter f;
		long bytes;
		FILE *fp;

		test_open(&f, "file", words(&d, cases[i].name, cases[i].rest), 0);
		for (unsigned n = 0; n < 100; n++) {
			assert_int_equal(write_packet(&f, n), UINT32_MAX);
			if (n == 50) /* a file is never behind */
				assert_int_equal(packets_in(in_folder(&d, cases[i].name), 0, cases[i].a_tick), 51);
		}
		assert_int_equal(packets_in(in_folder(&d, cases[i].name), 0, cases[i].a_tick), 100);
		fp = fopen(in_folder(&d, cases[i].name), "rb");
		fseek(fp, 0, SEEK_END);
		bytes = ftell(fp);
		fclose(fp);
		assert_int_equal(((struct ffpf_mbuf_file *)f.env.mbuf)->bytes, bytes);
		assert_int_equal(((struct ffpf_mbuf_file *)f.env.mbuf)->packets, 100);
		test_close(&f);
	}
	folder_close(&d);
}

static void
time_and_size_begin_new_files_and_the_oldest_go(void **state)
{
	struct test_filter f;
	struct folder d;

	(void)state;
	folder_open(&d);
	test_open(&f, "file", words(&d, "a.pcap", "time=10s files=2"), 0);
	for (unsigned n = 0; n < 50; n++)
		write_packet(&f, n);
	assert_int_equal(((struct ffpf_mbuf_file *)f.env.mbuf)->files, 3);
	assert_int_equal(packets_in(in_folder(&d, "a-00001.pcap"), 0, 1), -1);
	assert_int_equal(packets_in(in_folder(&d, "a-00002.pcap"), 20, 1), 20);
	assert_int_equal(packets_in(in_folder(&d, "a-00003.pcap"), 40, 1), 10);
	test_close(&f);
	folder_close(&d);
	folder_open(&d);
	test_open(&f, "file", words(&d, "a.pcap", "size=1k"), 0);
	for (unsigned n = 0; n < 28; n++) /* 4 rounds of 7: 24 + 28 * (16 + 53) octets and three headers more */
		write_packet(&f, n);
	assert_int_equal(((struct ffpf_mbuf_file *)f.env.mbuf)->files, 2);
	assert_int_equal(packets_in(in_folder(&d, "a-00001.pcap"), 0, 1), 14);
	assert_int_equal(packets_in(in_folder(&d, "a-00002.pcap"), 14, 1), 14);
	test_close(&f);
	folder_close(&d);
}

static void
batches_are_written_whole_over_files(void **state)
{
	enum { COUNT = 60 };
	uint8_t data[COUNT][64] = { { 0 } };
	struct ffpf_packet pkts[COUNT];
	struct ffpf_node_pkt in[COUNT];
	uint32_t results[COUNT];
	struct test_filter f;
	struct folder d;

	(void)state;
	folder_open(&d);
	test_open(&f, "file", words(&d, "a.pcap", "time=10s"), 0);
	for (unsigned n = 0; n < COUNT; n++) {
		data[n][0] = (uint8_t)n;
		pkts[n] = (struct ffpf_packet){ .data = data[n], .cap_len = 50 + n % 7, .wire_len = 100 };
		in[n] = (struct ffpf_node_pkt){ .pkt = &pkts[n],
						.ts_ns = T0 + n * (uint64_t)SECOND / 2 + 123456789,
						.result = n + 1,
						.link_type = DLT_EN10MB };
	}
	test_filter_batch(&f, in, COUNT, results);
	for (unsigned n = 0; n < COUNT; n++)
		assert_int_equal(results[n], n + 1);
	for (unsigned n = 0; n < 3; n++) {
		static const char *const names[] = { "a-00001.pcap", "a-00002.pcap", "a-00003.pcap" };

		assert_int_equal(packets_in(in_folder(&d, names[n]), 20 * n, 1), 20);
	}
	test_close(&f);
	folder_close(&d);
}

static void
path_that_cannot_be_written_is_an_error_at_once(void **state)
{
	struct test_filter f;

	(void)state;
	assert_int_equal(test_parse(&f, "file", "path=/nonexistent/a.pcap", 0), 0);
	assert_int_equal(test_open_parsed(&f), -FFPF_E_SYSTEM);
	assert_string_equal(f.err.text, "/nonexistent/a.pcap cannot be written: No such file or directory");
	test_close(&f);
	assert_int_equal(test_parse(&f, "file", "path=/dev/full", 0), 0);
	assert_int_equal(test_open_parsed(&f), -FFPF_E_SYSTEM);
	assert_string_equal(f.err.text, "/dev/full cannot be written: No space left on device");
	test_close(&f);
}

/* The second file's name leads to a full device: its packets are dropped until, a second later, the name is free. */
static void
full_disk_is_a_drop_cause_and_tried_again_later(void **state)
{
	const struct ffpf_mbuf_file *mbuf;
	struct test_filter f;
	struct folder d;

	(void)state;
	folder_open(&d);
	assert_int_equal(symlink("/dev/full", in_folder(&d, "a-00002.pcap")), 0);
	test_open(&f, "file", words(&d, "a.pcap", "time=10s"), 0);
	mbuf = f.env.mbuf;
	for (unsigned n = 0; n < 20; n++)
		assert_int_not_equal(write_packet(&f, n), 0);
	assert_int_equal(write_packet(&f, 20), 0);
	assert_int_equal(mbuf->error, ENOSPC);
	assert_int_equal(unlink(in_folder(&d, "a-00002.pcap")), 0);
	assert_int_equal(write_packet(&f, 21), 0); /* not yet */
	assert_int_equal(mbuf->dropped_full, 2);
	assert_int_equal(f.dropped, 2);
	assert_int_not_equal(write_packet(&f, 22), 0);
	assert_int_equal(mbuf->error, 0);
	assert_int_equal(mbuf->packets, 21);
	assert_int_equal(packets_in(in_folder(&d, "a-00002.pcap"), 22, 1), 1);
	test_close(&f);
	folder_close(&d);
}

/* A limit on the size of files cuts a write short: the file ends with its last whole packet. */
static void
write_cut_short_leaves_whole_packets(void **state)
{
	const struct rlimit small = { 1024, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };
	const struct ffpf_mbuf_file *mbuf;
	struct test_filter f;
	struct folder d;
	unsigned passed = 0;
	char *text;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	folder_open(&d);
	test_open(&f, "file", words(&d, "a.pcap", ""), 0);
	mbuf = f.env.mbuf;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (unsigned n = 0; n < 30; n++)
		passed += write_packet(&f, n) != 0;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(mbuf->error, EFBIG);
	assert_int_equal(mbuf->packets, passed);
	assert_int_equal(mbuf->dropped_failed, 30 - passed);
	assert_int_equal(passed, 14);
	assert_int_equal(packets_in(in_folder(&d, "a.pcap"), 0, 1), 14);
	text = test_report(&f, FFPF_REPORT_TEXT);
	assert_non_null(strstr(text, "dropped_failed 16\nerror File too large\n"));
	free(text);
	test_close(&f);
	folder_close(&d);
}

static void
bad_arguments_are_named(void **state)
{
	static const char usage[] =
	    "path=PATH [format=pcap|pcapng] [precision=ns|us] [size=BYTES] [time=TIME] [files=N]";
	const uint32_t two[] = { DLT_EN10MB, DLT_RAW, DLT_EN10MB };
	struct test_filter f;
	char text[256];

	(void)state;
	snprintf(text, sizeof(text), "which path? Arguments: %s", usage);
	assert_refused("file", "", 0, text, 0);
	snprintf(text, sizeof(text), "what is \"/tmp/x\"? Arguments: %s", usage);
	assert_refused("file", "/tmp/x", 0, text, 0);
	assert_refused("file", "path=x format=erf", 0, "\"erf\" is not pcap or pcapng", 14);
	assert_refused("file", "path=x files=3", 0, "files=3 needs size or time, which begin new files", 0);
	assert_refused("file", "path=x size=10", 0, "\"10\" is no number from 1024 to 9223372036854775807", 12);
	assert_canonical("file", "size=1k path=a.pcapng", "path='a.pcapng' format=pcapng precision=ns size=1024");
	/* two link types do not fit one pcap file */
	assert_int_equal(test_parse(&f, "file", "path=/tmp/x.pcap", 0), 0);
	f.env = (struct ffpf_class_env){ .link_types = two, .link_type_count = 3 };
	assert_int_equal(f.class->open(f.instance, &f.env, &f.err), -FFPF_E_NOT_SUPPORTED);
	assert_string_equal(f.err.text, "a pcap file has one link type, and packets of 2 come here: use format=pcapng");
	test_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_hold_what_was_written_in_every_format),
		cmocka_unit_test(time_and_size_begin_new_files_and_the_oldest_go),
		cmocka_unit_test(batches_are_written_whole_over_files),
		cmocka_unit_test(path_that_cannot_be_written_is_an_error_at_once),
		cmocka_unit_test(full_disk_is_a_drop_cause_and_tried_again_later),
		cmocka_unit_test(write_cut_short_leaves_whole_packets),
		cmocka_unit_test(bad_arguments_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ctypes cannot do: breakloop from signal handlers and other threads, exit() and longjmp() out of callbacks,
 * forks. `program CASE ...`: see cases[]. Prints what it sees; the test compares stock with FFPF.
 */
#include <pcap/pcap.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pcap_t *handle;
static int packets;
static jmp_buf away;

static void
sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) < 0)
		;
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
count(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	(void)user, (void)header, (void)data;
	packets++;
}

static void
on_signal(int number)
{
	(void)number;
	pcap_breakloop(handle);
}

static void
just_interrupt(int number)
{
	(void)number;
}

/* A live handle whose read timeout is five minutes. */
static void
open_live(const char *device)
{
	char errbuf[PCAP_ERRBUF_SIZE] = "";

	handle = pcap_open_live(device, 65535, 0, 300000, errbuf);
	if (!handle) {
		printf("%s\n", errbuf);
		exit(1);
	}
}

static void
open_file(const char *path)
{
	char errbuf[PCAP_ERRBUF_SIZE] = "";

	handle = pcap_open_offline(path, errbuf);
	if (!handle) {
		printf("%s\n", errbuf);
		exit(1);
	}
}

static void
handle_signal(int number, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_flags = flags };

	action.sa_handler = handler;
	sigaction(number, &action, NULL);
}

/* Every reading call, interrupted by a handler that calls pcap_breakloop. */
static void
signals(const char *device, int flags)
{
	struct pcap_pkthdr *header;
	const u_char *data;

	open_live(device);
	handle_signal(SIGALRM, on_signal, flags);
	for (int i = 0; i < 3; i++) {
		ualarm(100000, 0);
		printf("loop %d\n", pcap_loop(handle, -1, count, NULL));
		ualarm(100000, 0);
		printf("dispatch %d\n", pcap_dispatch(handle, -1, count, NULL));
		ualarm(100000, 0);
		printf("next_ex %d\n", pcap_next_ex(handle, &header, &data));
	}
	pcap_close(handle);
}

static void
case_signal(char **args)
{
	signals(args[0], 0);
}

static void
case_signal_restart(char **args)
{
	signals(args[0], SA_RESTART);
}

static void *
break_later(void *unused)
{
	(void)unused;
	sleep_ms(150);
	pcap_breakloop(handle);
	return NULL;
}

static void
case_thread(char **args)
{
	pthread_t thread;

	open_live(args[0]);
	for (int i = 0; i < 5; i++) {
		double begin = now();

		pthread_create(&thread, NULL, break_later, NULL);
		printf("loop %d", pcap_loop(handle, -1, count, NULL));
		printf(" in time %d\n", now() - begin < 10);
		pthread_join(thread, NULL);
	}
	pcap_close(handle);
}

/* Breaks at once, from many threads, against a loop that always begins again: no break may be lost for good. */
static void *
break_often(void *unused)
{
	(void)unused;
	for (int i = 0; i < 200; i++) {
		pcap_breakloop(handle);
		sleep_ms(1);
	}
	return NULL;
}

static void
case_storm(char **args)
{
	pthread_t threads[3];
	int broken = 0, other = 0;

	open_live(args[0]);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, break_often, NULL);
	while (broken < 20) {
		if (pcap_loop(handle, -1, count, NULL) == PCAP_ERROR_BREAK)
			broken++;
		else
			other++;
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("broken %d other %d\n", broken, other);
	printf("once more %d\n", pcap_loop(handle, -1, count, NULL));
	pcap_close(handle);
}

/* A signal that is none of the library's business does not end a wait. */
static void
case_other_signal(char **args)
{
	pthread_t thread;
	double begin = now();

	open_live(args[0]);
	handle_signal(SIGALRM, just_interrupt, 0);
	ualarm(20000, 20000);
	pthread_create(&thread, NULL, break_later, NULL);
	printf("loop %d", pcap_loop(handle, -1, count, NULL));
	printf(" waited %d\n", now() - begin > 0.14);
	ualarm(0, 0);
	pthread_join(thread, NULL);
	pcap_close(handle);
}

static void
leave(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	count(user, header, data);
	if (packets == 3)
		exit(7);
}

static void
case_exit(char **args)
{
	open_file(args[0]);
	pcap_loop(handle, -1, leave, NULL);
	printf("not reached\n");
}

static void
jump(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
	count(user, header, data);
	if (packets % 3 == 0)
		longjmp(away, 1);
}

static void
case_longjmp(char **args)
{
	volatile int jumps = 0;
	int result;

	open_file(args[0]);
	if (setjmp(away))
		jumps++;
	result = pcap_loop(handle, -1, jump, NULL);
	printf("loop %d packets %d jumps %d\n", result, packets, jumps);
	pcap_close(handle);
}

/* Parent and child both end with the handle open: it is the parent's. */
static void
case_fork(char **args)
{
	pid_t child;

	open_file(args[0]);
	pcap_dispatch(handle, 2, count, NULL);
	fflush(stdout);
	child = fork();
	if (child == 0)
		exit(0);
	waitpid(child, NULL, 0);
	printf("packets %d\n", packets);
	exit(0);
}

/* A daemon goes on reading what its parent opened. */
static void
case_daemon(char **args)
{
	pid_t child;

	open_file(args[0]);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		pcap_loop(handle, -1, count, NULL);
		printf("child %d\n", packets);
		exit(0);
	}
	waitpid(child, NULL, 0);
	_exit(0);
}

static const struct {
	const char *name;
	void (*run)(char **args);
} cases[] = {
	{ "signal", case_signal },
	{ "signal_restart", case_signal_restart },
	{ "thread", case_thread },
	{ "storm", case_storm },
	{ "other_signal", case_other_signal },
	{ "exit", case_exit },
	{ "longjmp", case_longjmp },
	{ "fork", case_fork },
	{ "daemon", case_daemon },
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run(argv + 2);
			return 0;
		}
	}
	return 2;
}

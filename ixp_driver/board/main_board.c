/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The board as a process: ffpf-ixp-board SOCKET NAME RECEIVE ACCEPT BMS PORT [PORT] [-- NAME=VALUE ...]
 *
 * RECEIVE and ACCEPT are object files: the framework's microcode. `ffpf-ixp board` compiles them, and runs this. A line
 * "ready" on standard output says that hosts may come. SIGTERM and SIGINT end it.
 */
#include "board/session.h"
#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define STEPS_BETWEEN 512 /* steps of the board between two looks at its hosts */
#define WAIT_MS       1   /* between two looks at readers that a port waits for */

struct process {
	struct board_config cfg;
	struct ixp_object receive, accept;
	struct board_server server;
	struct board *board;
	int signals;
	bool told[FFPF_IXP_PORTS_MAX]; /* that the port failed */
};

static int
read_object(struct ixp_object *out, const char *path, struct ffpf_error *err)
{
	uint8_t octets[IXP_OBJECT_MAX + 1];
	FILE *fp = fopen(path, "rbe");
	size_t len;
	int rc;

	if (!fp)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s", path);
	len = fread(octets, 1, sizeof(octets), fp);
	fclose(fp);
	rc = ixp_object_parse(out, octets, len, err);
	if (rc)
		ffpf_error_append(err, " (%s)", path);
	return rc;
}

static int
read_arguments(struct process *process, int argc, char **argv, struct ffpf_error *err)
{
	struct board_config *cfg = &process->cfg;
	const struct ffpf_bms *bms;
	int i = 6, rc;

	if (argc < 7 || strlen(argv[2]) >= sizeof(cfg->name))
		return ffpf_error_set(err, FFPF_E_INVALID,
				      "usage: %s SOCKET NAME RECEIVE ACCEPT BMS PORT [PORT] [-- NAME=VALUE ...]",
				      argv[0]);
	board_params_default(&cfg->params);
	snprintf(cfg->name, sizeof(cfg->name), "%s", argv[2]);
	bms = ffpf_bms_find_name(argv[5]);
	if (!bms)
		return ffpf_error_set(err, FFPF_E_INVALID, "%.40s: the buffer management is srp or frp", argv[5]);
	cfg->params.bms = bms->id;
	cfg->memory = FFPF_MEMORY_FD;
	cfg->receive = &process->receive;
	cfg->accept = &process->accept;
	cfg->params.ports = 0;
	rc = read_object(&process->receive, argv[3], err);
	if (!rc)
		rc = read_object(&process->accept, argv[4], err);
	for (; !rc && i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (cfg->params.ports == FFPF_IXP_PORTS_MAX)
			return ffpf_error_set(err, FFPF_E_INVALID, "a board has two ports at most");
		rc = board_port_parse(&cfg->ports[cfg->params.ports++], argv[i], err);
	}
	for (i++; !rc && i < argc; i++)
		rc = board_params_set(&cfg->params, argv[i], err);
	return rc;
}

static int
open_signals(struct process *process, struct ffpf_error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	process->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return process->signals >= 0 ? 0 : ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "signalfd");
}

/* Sleeps until a host, a live port or a reader's timeout wants something; true: a signal came. */
static bool
rest(struct process *process, enum board_pace_now how)
{
	struct pollfd fds[BOARD_SERVER_FDS + FFPF_IXP_PORTS_MAX + 1];
	uint32_t n = board_server_poll(&process->server, fds);
	uint64_t now = ffpf_clock_ns(CLOCK_MONOTONIC), due = board_strongarm_wake(process->board, now);
	int timeout = how == BOARD_WORKED ? 0 : how == BOARD_WAITS ? WAIT_MS : -1;

	if (timeout < 0 && due != UINT64_MAX)
		timeout = due > now ? (int)((due - now) / 1000000 < 1000 ? (due - now) / 1000000 + 1 : 1000) : 0;
	for (uint32_t port = 0; port < process->board->params.ports; port++) {
		const struct board_port *it = process->board->ports[port];

		fds[n++] = (struct pollfd){ .fd = it->state == BOARD_PORT_RUNS ? board_source_poll_fd(it->source) : -1,
					    .events = POLLIN };
	}
	fds[n] = (struct pollfd){ .fd = process->signals, .events = POLLIN };
	poll(fds, n + 1, timeout);
	if (how == BOARD_RESTS)
		board_pass(process->board, ffpf_clock_ns(CLOCK_MONOTONIC) - now);
	return fds[n].revents != 0;
}

/* Of ports that ended otherwise than they should, once. */
static void
tell_failures(struct process *process)
{
	for (uint32_t port = 0; port < process->board->params.ports; port++) {
		const struct board_port *it = process->board->ports[port];
		bool failed = it->state == BOARD_PORT_FAILED;

		if (failed && !process->told[port])
			fprintf(stderr, "%s: port %s: %s\n", process->cfg.name, it->cfg.text, it->err.text);
		process->told[port] = failed;
	}
}

static void
work(struct process *process)
{
	bool ended = false;

	while (!ended) {
		enum board_pace_now how = BOARD_WORKED;

		for (int i = 0; i < STEPS_BETWEEN && how == BOARD_WORKED; i++)
			how = board_step(process->board);
		board_ask_sockets(process->board);
		tell_failures(process);
		if (board_server_serve(&process->server))
			how = BOARD_WORKED;
		ended = rest(process, how);
	}
}

static int
prepare(struct process *process, int argc, char **argv, struct ffpf_error *err)
{
	int rc = read_arguments(process, argc, argv, err);

	if (!rc)
		rc = open_signals(process, err);
	if (!rc)
		rc = board_window_create(&process->server.registers, sizeof(struct ffpf_ixp_registers), false, err);
	if (!rc)
		rc = board_create(&process->board, &process->cfg, process->server.registers.base, err);
	if (!rc)
		rc = board_server_open(&process->server, process->board, argv[1], err);
	return rc;
}

int
main(int argc, char **argv)
{
	static struct process process = { .signals = -1, .server = { .listener = -1, .registers = { .fd = -1 } } };
	struct ffpf_error err = { 0 };
	int rc = prepare(&process, argc, argv, &err);

	if (rc) {
		fprintf(stderr, "%s\n", err.text);
	} else {
		puts("ready");
		fflush(stdout);
		work(&process);
		board_server_close(&process.server);
	}
	board_destroy(process.board);
	board_window_close(&process.server.registers);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "stats.h"

#include "handle.h"
#include "sampling.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Process-wide by its nature: programs leave through exit() with handles open, and nothing but the process's end could
 * report on them. `lock` guards all of it.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pcap *open_handles;
static struct ffpf_counters total;
static unsigned handles_shared, handles_embedded, handles_system;
static unsigned filter_kinds; /* bit set of 1 << enum ffpf_filter_kind */

static const char *const kind_names[] = {
	[FFPF_FILTER_NONE] = "none",
	[FFPF_FILTER_KERNEL] = "kernel",
	[FFPF_FILTER_JIT] = "jit",
	[FFPF_FILTER_INTERPRETER] = "interpreter",
};

static void
add_up(struct pcap *p)
{
	struct ffpf_counters c;

	if (p->foreign) {
		handles_system++;
		total.seen += p->foreign_delivered;
		total.delivered += p->foreign_delivered;
		return;
	}
	if (p->ops == &ffpf_shared_ops)
		handles_shared++;
	else
		handles_embedded++;
	ffpf_handle_settle(p);
	filter_kinds |= 1U << p->reader->info.filter_kind;
	if (p->reader->ops->counters(p->reader, &c) < 0)
		return;
	total.seen += c.seen;
	total.filtered += c.filtered;
	total.delivered += c.delivered;
	if (p->sampling) { /* the reader has delivered them, the read loop has not */
		total.filtered += p->sampling->dropped;
		total.delivered -= p->sampling->dropped;
	}
	for (unsigned i = 0; i < FFPF_DROP_CAUSES; i++)
		total.dropped[i] += c.dropped[i];
}

/* A forked child reports only on what it opens itself: its parent reports on the rest, and so nothing twice. A child
 * that goes on reading its parent's handles (daemons do) takes them up again in ffpf_stats_attach. */
static void
forget_in_child(void)
{
	pthread_mutex_init(&lock, NULL);
	while (open_handles) {
		struct pcap *p = open_handles;

		open_handles = p->stats_next;
		p->stats_next = NULL;
		p->stats_attached = false;
	}
	memset(&total, 0, sizeof(total));
	handles_shared = handles_embedded = handles_system = filter_kinds = 0;
}

static void
lock_for_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void
unlock_after_fork(void)
{
	pthread_mutex_unlock(&lock);
}

static void
prepare_for_forks(void)
{
	pthread_atfork(lock_for_fork, unlock_after_fork, forget_in_child);
}

void
ffpf_stats_attach(struct pcap *p)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, prepare_for_forks);
	pthread_mutex_lock(&lock);
	p->stats_next = open_handles;
	open_handles = p;
	p->stats_attached = true;
	pthread_mutex_unlock(&lock);
}

void
ffpf_stats_detach(struct pcap *p)
{
	struct pcap **at;

	pthread_mutex_lock(&lock);
	for (at = &open_handles; *at; at = &(*at)->stats_next) {
		if (*at == p) {
			*at = p->stats_next;
			p->stats_attached = false;
			add_up(p);
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* Who served, joined by "+". */
static void
name_engines(char *out, size_t size)
{
	const struct {
		const char *name;
		unsigned handles;
	} engines[] = {
		{ "shared", handles_shared },
		{ "embedded", handles_embedded },
		{ "system", handles_system },
	};
	size_t len = 0;

	snprintf(out, size, "none");
	for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (engines[i].handles)
			len += (size_t)snprintf(out + len, size - len, "%s%s", len ? "+" : "", engines[i].name);
}

static size_t
describe(char *line, size_t size)
{
	size_t len = 0;
	bool first = true;
	char engine[32];

	name_engines(engine, sizeof(engine));
#define ADD(...) (len += (size_t)snprintf(line + len, len < size ? size - len : 0, __VA_ARGS__))
	ADD("ffpf: engine=%s handles=%u seen=%llu filtered=%llu delivered=%llu dropped=%llu (", engine,
	    handles_shared + handles_embedded + handles_system, (unsigned long long)total.seen,
	    (unsigned long long)total.filtered, (unsigned long long)total.delivered,
	    (unsigned long long)ffpf_counters_dropped(&total));
	for (unsigned i = 0; i < FFPF_DROP_CAUSES; i++)
		ADD("%s%s=%llu", i ? " " : "", ffpf_drop_name((enum ffpf_drop)i), (unsigned long long)total.dropped[i]);
	ADD(") filter=");
	for (unsigned kind = 0; kind < sizeof(kind_names) / sizeof(kind_names[0]); kind++) {
		/* "none" goes without saying where another handle had a filter */
		if (!(filter_kinds & 1U << kind) ||
		    (kind == FFPF_FILTER_NONE && filter_kinds != 1U << FFPF_FILTER_NONE))
			continue;
		ADD("%s%s", first ? "" : "+", kind_names[kind]);
		first = false;
	}
	if (first)
		ADD("none");
	ADD(" program=%s pid=%d\n", program_invocation_short_name, (int)getpid());
#undef ADD
	return len < size ? len : size - 1;
}

static void
print_line(const char *where)
{
	char line[1024];
	size_t len = describe(line, sizeof(line));
	int fd = STDERR_FILENO;

	if (strchr(where, '/'))
		fd = open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	else if (handles_shared + handles_embedded + handles_system == 0)
		return;
	/* A daemon that has changed its root, or its user, may not reach the file any more. */
	if (fd < 0)
		fd = STDERR_FILENO;
	/* One write, so that lines of several processes do not mix. Nobody is left to be told of a failure. */
	if (write(fd, line, len) < 0 || fd == STDERR_FILENO)
		return;
	close(fd);
}

/* Runs after the program's own exit handlers, and before the C library flushes its streams. */
__attribute__((destructor)) static void
at_exit(void)
{
	const char *where = secure_getenv("FFPF_STATS");

	/* exit() was called inside a callback: what the writer gathered is still to be written */
	if (ffpf_current)
		ffpf_handle_finish(ffpf_current);
	if (!where || !*where || strcmp(where, "0") == 0)
		return;
	/* Another thread may have been stopped by nothing and be in the middle of a call: then there is no line. */
	if (pthread_mutex_trylock(&lock) != 0)
		return;
	for (struct pcap *p = open_handles; p; p = p->stats_next)
		add_up(p);
	print_line(where);
	pthread_mutex_unlock(&lock);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/compiler.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS   20000
#define CPU_SECONDS  10
#define MEMORY_BYTES (2ull << 30)
#define WORDS_MAX    2048

extern char **environ;

/* What a child is given and gives back: files in memory, so nobody waits for anybody's pipe. */
struct talk {
	int text, code, words;
};

static int
say_system(struct ffpf_error *err, const char *what)
{
	return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s", what);
}

static void
hang_up(struct talk *talk)
{
	int *fds[] = { &talk->text, &talk->code, &talk->words };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static int
open_talk(struct talk *talk, const char *text, struct ffpf_error *err)
{
	size_t len = strlen(text);

	*talk = (struct talk){ memfd_create("fpl-text", MFD_CLOEXEC), memfd_create("fpl-code", MFD_CLOEXEC),
			       memfd_create("fpl-words", MFD_CLOEXEC) };
	if (talk->text < 0 || talk->code < 0 || talk->words < 0 || write(talk->text, text, len) != (ssize_t)len ||
	    lseek(talk->text, 0, SEEK_SET) < 0) {
		say_system(err, "no memory for the compiler's input");
		hang_up(talk);
		return -FFPF_E_SYSTEM;
	}
	return 0;
}

/* Ours without LD_PRELOAD: what this program was started with is not the compiler's business. To be freed. */
static char **
environment(void)
{
	size_t n = 0, kept = 0;
	char **copy;

	while (environ[n])
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++) {
		if (strncmp(environ[i], "LD_PRELOAD=", strlen("LD_PRELOAD=")) != 0)
			copy[kept++] = environ[i];
	}
	return copy;
}

static int
spawn(pid_t *pid, const struct talk *talk, char *const argv[])
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	char **variables = environment();
	int rc = variables ? 0 : ENOMEM;

	if (rc)
		return rc;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_adddup2(&actions, talk->text, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, talk->code, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, talk->words, STDERR_FILENO);
	rc = posix_spawnp(pid, argv[0], &actions, &attributes, argv, variables);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	free(variables);
	return rc;
}

static void
limit(pid_t pid)
{
	const struct rlimit cpu = { CPU_SECONDS, CPU_SECONDS }, memory = { MEMORY_BYTES, MEMORY_BYTES },
			    core = { 0, 0 };

	prlimit(pid, RLIMIT_CPU, &cpu, NULL);
	prlimit(pid, RLIMIT_AS, &memory, NULL);
	prlimit(pid, RLIMIT_CORE, &core, NULL);
}

static bool
ends_in_time(pid_t pid)
{
	struct pollfd ended = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int rc;

	if (ended.fd < 0)
		return true; /* an old kernel: waitpid waits, and the limit of processor time holds */
	do {
		rc = poll(&ended, 1, TIMEOUT_MS);
	} while (rc < 0 && errno == EINTR);
	close(ended.fd);
	return rc != 0;
}

/* Its status as from waitpid; 0 when somebody else took that, as a program that ignores SIGCHLD does. */
static int
wait_for(pid_t pid, bool *late)
{
	int status = 0;

	*late = !ends_in_time(pid);
	if (*late)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return 0;
	}
	return status;
}

static ssize_t
read_all(int fd, void *to, size_t room)
{
	return pread(fd, to, room, 0);
}

/* Columns count characters, as an editor does: a character of UTF-8 has octets behind its first. */
static size_t
octet_at(const char *text, unsigned long line, unsigned long column)
{
	const char *at = text;

	for (; line > 1 && strchr(at, '\n'); line--)
		at = strchr(at, '\n') + 1;
	for (; column > 1 && *at; column--) {
		at++;
		while (((unsigned char)*at & 0xc0) == 0x80)
			at++;
	}
	return (size_t)(at - text);
}

/* said: "LINE:COLUMN: ...", perhaps. */
static void
find_place(const char *said, const char *text, size_t *error_at)
{
	char *end = NULL;
	const unsigned long line = strtoul(said, &end, 10);
	unsigned long column;

	if (end == said || *end != ':')
		return;
	said = end + 1;
	column = strtoul(said, &end, 10);
	if (end != said && *end == ':')
		*error_at = octet_at(text, line, column);
}

/* The report's first line without the file's name, and its hint: the graph's text has the program already. */
static int
refused(const struct ffpf_compiler *compiler, const struct talk *talk, int status, const char *text, size_t *error_at,
	struct ffpf_error *err)
{
	char words[WORDS_MAX + 1], *line, *next, *hint = NULL;
	ssize_t n = read_all(talk->words, words, WORDS_MAX);

	words[n > 0 ? n : 0] = '\0';
	if (WIFSIGNALED(status))
		return ffpf_error_set(err, FFPF_E_BAD_FILTER, "the compiler of %s died (signal %d)", compiler->language,
				      WTERMSIG(status));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "%s could not be run: set %s to its path",
				      compiler->program, compiler->variable);
	line = words;
	if (strncmp(words, "<stdin>:", strlen("<stdin>:")) == 0) {
		line += strlen("<stdin>:");
		if (error_at)
			find_place(line, text, error_at);
	}
	next = strchr(line, '\n');
	if (next)
		*next++ = '\0';
	for (unsigned i = 0; next && i < 2; i++) { /* the line of text, and the caret */
		next = strchr(next, '\n');
		next = next ? next + 1 : NULL;
	}
	if (next && *next) {
		hint = next + strspn(next, " ");
		hint[strcspn(hint, "\n")] = '\0';
	}
	return ffpf_error_set(err, FFPF_E_BAD_FILTER, "%s, %s%s%s", compiler->language,
			      *line ? line : "no reason was given", hint && *hint ? ". " : "", hint ? hint : "");
}

/* The program and its arguments; to be freed, and nothing in it. */
static char **
command_line(const struct ffpf_compiler *compiler, const char *const *arguments)
{
	const char *named = getenv(compiler->variable);
	const char **argv;
	size_t n = 0;

	while (arguments[n])
		n++;
	argv = calloc(n + 2, sizeof(*argv));
	if (!argv)
		return NULL;
	argv[0] = named && *named ? named : compiler->program;
	memcpy(argv + 1, arguments, n * sizeof(*argv));
	return (char **)argv;
}

int
ffpf_compiler_run(const struct ffpf_compiler *compiler, const char *const *arguments, const char *text, int *out,
		  size_t *error_at, struct ffpf_error *err)
{
	char **argv;
	struct talk talk;
	bool late;
	pid_t pid;
	int rc = open_talk(&talk, text, err), status;

	if (rc)
		return rc;
	argv = command_line(compiler, arguments);
	rc = argv ? spawn(&pid, &talk, argv) : ENOMEM;
	if (rc) {
		ffpf_error_set_errno(err, FFPF_E_NOT_SUPPORTED, rc,
				     "%s, the compiler of %s, could not be run (%s is its path)",
				     argv ? argv[0] : compiler->program, compiler->language, compiler->variable);
		free(argv);
		hang_up(&talk);
		return -FFPF_E_NOT_SUPPORTED;
	}
	free(argv);
	limit(pid);
	status = wait_for(pid, &late);
	if (late)
		rc = ffpf_error_set(err, FFPF_E_BAD_FILTER, "the compiler of %s took more than %d seconds",
				    compiler->language, TIMEOUT_MS / 1000);
	else if (status)
		rc = refused(compiler, &talk, status, text, error_at, err);
	if (!rc) {
		*out = talk.code;
		talk.code = -1;
	}
	hang_up(&talk);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/fplc.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS   20000
#define CPU_SECONDS  10
#define MEMORY_BYTES (2ull << 30)
#define WORDS_MAX    2048
#define ARGS_FIXED   9

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

	*talk = (struct talk){ memfd_create("fpl2-text", MFD_CLOEXEC), memfd_create("fpl2-code", MFD_CLOEXEC),
			       memfd_create("fpl2-words", MFD_CLOEXEC) };
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

/* The report's first line without the file's name, and its hint: the graph's text has the program already. */
static int
refused(const struct talk *talk, int status, struct ffpf_error *err)
{
	char words[WORDS_MAX + 1], *line, *next, *hint = NULL;
	ssize_t n = read_all(talk->words, words, WORDS_MAX);

	words[n > 0 ? n : 0] = '\0';
	if (WIFSIGNALED(status))
		return ffpf_error_set(err, FFPF_E_BAD_FILTER, "the compiler of FPL-2 died (signal %d)",
				      WTERMSIG(status));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "fplc could not be run: set FFPF_FPLC to its path");
	line = strncmp(words, "<stdin>:", strlen("<stdin>:")) == 0 ? words + strlen("<stdin>:") : words;
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
	return ffpf_error_set(err, FFPF_E_BAD_FILTER, "FPL-2, %s%s%s", *line ? line : "no reason was given",
			      hint && *hint ? ". " : "", hint ? hint : "");
}

static int
take_record(struct ffpf_fplo_image *out, const struct talk *talk, const struct ffpf_fplo_policy *policy,
	    struct ffpf_error *err)
{
	struct ffpf_error why = { 0 };
	int rc = ffpf_fplo_take(out, talk->code, false, policy, &why);

	if (rc == -FFPF_E_FORMAT)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED,
				      "the compiler of FPL-2 gave no code that can be run: %s", why.text);
	return rc ? ffpf_error_set(err, why.code, "what the compiler of FPL-2 gave: %s", why.text) : 0;
}

/* By the names of uname(2). */
static const struct {
	const char *machine, *target; /* as fplc calls it */
	uint16_t number;
} machines[] = { { "x86_64", "x86-64", FFPF_FPLO_X86_64 }, { "aarch64", "aarch64", FFPF_FPLO_AARCH64 } };

/* Its number in `machines`; -1: there is none. */
static int
this_machine(struct utsname *names)
{
	uname(names);
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		if (strcmp(names->machine, machines[i].machine) == 0)
			return (int)i;
	}
	return -1;
}

uint16_t
ffpf_fplc_machine(void)
{
	struct utsname names;
	int i = this_machine(&names);

	return i < 0 ? 0 : machines[i].number;
}

static int
target_of(const char **target, struct ffpf_error *err)
{
	struct utsname names;
	int i = this_machine(&names);

	if (i < 0)
		return ffpf_error_set(err, FFPF_E_NOT_SUPPORTED, "FPL-2 is not compiled for %s", names.machine);
	*target = machines[i].target;
	return 0;
}

/* The command line: to be freed, and nothing in it. */
static int
arguments(char ***out, char bytes[24], const struct ffpf_fpl2_request *request, struct ffpf_error *err)
{
	const char *named = getenv("FFPF_FPLC"), *target = NULL;
	const char **argv;
	uint32_t n = ARGS_FIXED;
	int status = target_of(&target, err);

	if (status)
		return status;
	argv = calloc(ARGS_FIXED + 2 * (size_t)request->declared_count + 1, sizeof(*argv));
	if (!argv)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	snprintf(bytes, 24, "%" PRIu64, request->mbuf_bytes);
	memcpy(argv,
	       (const char *[ARGS_FIXED]){ named && *named ? named : "fplc", "compile", "--record", "--mbuf", bytes,
					   "--link", request->link, "--target", target },
	       ARGS_FIXED * sizeof(*argv));
	for (uint32_t i = 0; i < request->declared_count; i++) {
		argv[n++] = "--extern";
		argv[n++] = request->declared[i];
	}
	*out = (char **)argv;
	return 0;
}

int
ffpf_fplc_compile(struct ffpf_fplo_image *out, const struct ffpf_fpl2_request *request,
		  const struct ffpf_fplo_policy *policy, struct ffpf_error *err)
{
	char bytes[24], **argv = NULL;
	struct talk talk;
	bool late;
	pid_t pid;
	int rc = arguments(&argv, bytes, request, err), status;

	if (rc)
		return rc;
	rc = open_talk(&talk, request->text, err);
	if (rc) {
		free(argv);
		return rc;
	}
	rc = spawn(&pid, &talk, argv);
	if (rc)
		rc = ffpf_error_set_errno(err, FFPF_E_NOT_SUPPORTED, rc,
					  "%s, the compiler of FPL-2, could not be run (FFPF_FPLC is its path)",
					  argv[0]);
	free(argv);
	if (rc) {
		hang_up(&talk);
		return rc;
	}
	limit(pid);
	status = wait_for(pid, &late);
	if (late)
		rc = ffpf_error_set(err, FFPF_E_BAD_FILTER, "the compiler of FPL-2 took more than %d seconds",
				    TIMEOUT_MS / 1000);
	else
		rc = status ? refused(&talk, status, err) : take_record(out, &talk, policy, err);
	hang_up(&talk);
	return rc;
}

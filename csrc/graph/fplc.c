/* SPDX-License-Identifier: BSD-3-Clause */
#include "graph/fplc.h"

#include "graph/compiler.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ARGS_FIXED 8

static int
take_record(struct ffpf_fplo_image *out, int fd, const struct ffpf_fplo_policy *policy, struct ffpf_error *err)
{
	struct ffpf_error why = { 0 };
	int rc = ffpf_fplo_take(out, fd, false, policy, &why);

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
arguments(const char ***out, char bytes[24], const struct ffpf_fpl2_request *request, struct ffpf_error *err)
{
	const char *target = NULL, **argv;
	uint32_t n = ARGS_FIXED;
	int status = target_of(&target, err);

	if (status)
		return status;
	argv = calloc(ARGS_FIXED + 2 * (size_t)request->declared_count + 2, sizeof(*argv));
	if (!argv)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	snprintf(bytes, 24, "%" PRIu64, request->mbuf_bytes);
	memcpy(argv,
	       (const char *[ARGS_FIXED]){ "compile", "--record", "--mbuf", bytes, "--link", request->link, "--target",
					   target },
	       ARGS_FIXED * sizeof(*argv));
	if (request->offline)
		argv[n++] = "--offline";
	for (uint32_t i = 0; i < request->declared_count; i++) {
		argv[n++] = "--extern";
		argv[n++] = request->declared[i];
	}
	*out = argv;
	return 0;
}

static const struct ffpf_compiler compiler = { .language = "FPL-2", .program = "fplc", .variable = "FFPF_FPLC" };

int
ffpf_fplc_microcode(int *object, const struct ffpf_fpl2_request *request, struct ffpf_error *err)
{
	char bytes[24];
	const char *const argv[] = { "compile",     "--binary", "--mbuf",    bytes, "--link",
				     request->link, "--target", "microcode", NULL };

	snprintf(bytes, sizeof(bytes), "%" PRIu64, request->mbuf_bytes);
	return ffpf_compiler_run(&compiler, argv, request->text, object, request->error_at, err);
}

int
ffpf_fplc_compile(struct ffpf_fplo_image *out, const struct ffpf_fpl2_request *request,
		  const struct ffpf_fplo_policy *policy, struct ffpf_error *err)
{
	const char **argv = NULL;
	char bytes[24];
	int rc = arguments(&argv, bytes, request, err), fd = -1;

	if (rc)
		return rc;
	rc = ffpf_compiler_run(&compiler, argv, request->text, &fd, request->error_at, err);
	free(argv);
	if (rc)
		return rc;
	rc = take_record(out, fd, policy, err);
	close(fd);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * (device,eth0), (device,any), (device,/tmp/a.pcap), (device,file:a.pcap), (device,hook:NAME), (device,given:NAME),
 * (device,ixp0).
 *
 * What a word without a prefix means: with a slash in it, a savefile; else an interface when there is one of that name;
 * else a savefile when there is one; else an IXP1200 board that answers to it; else an interface that is not there. The
 * canonical form has the prefix, and of a savefile the real path.
 */
#include "graph/classes.h"
#include "host/boards.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
canonical_file(struct ffpf_class_args *args, const char *path, size_t at, struct ffpf_error *err)
{
	char *real;
	int status;

	if (strcmp(path, "-") == 0) {
		ffpf_text_add(&args->canonical, "file:-");
		return 0;
	}
	real = realpath(path, NULL);
	if (!real) {
		args->error_at = at;
		status = ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s", path);
		return status;
	}
	ffpf_text_add(&args->canonical, "file:%s", real);
	free(real);
	return 0;
}

static bool
begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int
parse(void *instance, struct ffpf_class_args *args, struct ffpf_error *err)
{
	size_t at = strspn(args->text, " \t\r\n");
	const char *word = args->text + at;

	(void)instance;
	if (!*word)
		return ffpf_args_fail(args, at, err, "which device? Arguments: %s", ffpf_class_device.arguments);
	if (args->mbuf_bytes)
		return ffpf_args_fail(args, at, err, "a device has no MBuf");
	if (begins(word, "netfilter:"))
		return ffpf_args_fail(args, at, err, "netfilter hooks are captured by ffpfd, not in this process");
	if (begins(word, "file:"))
		return canonical_file(args, word + 5, at, err);
	if (begins(word, "hook:") || begins(word, "given:") || begins(word, "live:") || begins(word, "ixp:")) {
		ffpf_text_add(&args->canonical, "%s", word);
		return 0;
	}
	if (strchr(word, '/') || strcmp(word, "-") == 0)
		return canonical_file(args, word, at, err);
	if (strcmp(word, "any") == 0 || if_nametoindex(word)) {
		ffpf_text_add(&args->canonical, "live:%s", word);
		return 0;
	}
	if (access(word, F_OK) == 0)
		return canonical_file(args, word, at, err);
	ffpf_text_add(&args->canonical, ffpf_ixp_answers(word) ? "ixp:%s" : "live:%s", word);
	return 0;
}

const struct ffpf_class ffpf_class_device = {
	.name = "device",
	.summary = "packets of an interface, a savefile, an application, or a network processor",
	.arguments = "INTERFACE | any | PATH | - | file:PATH | live:INTERFACE | hook:NAME | given:NAME | ixp:BOARD",
	.levels = FFPF_LEVEL_USERSPACE | FFPF_LEVEL_KERNEL | FFPF_LEVEL_NIC,
	.source = true,
	.parse = parse,
};

/* SPDX-License-Identifier: BSD-3-Clause */
#include "externs/named_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
named_file_check(const char *name, struct ffpf_class_args *args, const struct ffpf_arg *arg, struct ffpf_error *err)
{
	if (*name && *name != '.' && !strchr(name, '/'))
		return 0;
	return ffpf_args_fail(args, arg->at, err,
			      "a file is named without its folder; folders are those of " NAMED_FILE_VARIABLE);
}

/* -1: errno; ENOENT also for a folder that is not named from the root, or a path that is too long. */
static int
open_in(const char *folder, size_t len, const char *name)
{
	char path[PATH_MAX];

	if (*folder != '/' || snprintf(path, sizeof(path), "%.*s/%s", (int)len, folder, name) >= (int)sizeof(path)) {
		errno = ENOENT;
		return -1;
	}
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* In the first folder that has it; -1: errno. */
static int
find(const char *folders, const char *name)
{
	for (const char *at = folders;; at++) {
		const size_t len = strcspn(at, ":");
		const int fd = open_in(at, len, name);

		if (fd >= 0 || errno != ENOENT)
			return fd;
		at += len;
		if (!*at) {
			errno = ENOENT;
			return -1;
		}
	}
}

static int
take(FILE **out, int fd, const char *name, struct ffpf_error *err)
{
	struct stat what;

	if (fstat(fd, &what) || !S_ISREG(what.st_mode)) {
		close(fd);
		return ffpf_error_set(err, FFPF_E_SYSTEM, "%s is no ordinary file", name);
	}
	*out = fdopen(fd, "r");
	if (*out)
		return 0;
	close(fd);
	return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
}

int
named_file_open(FILE **out, const char *name, struct ffpf_error *err)
{
	const char *folders = getenv(NAMED_FILE_VARIABLE);
	int fd;

	if (!folders || !*folders)
		return ffpf_error_set(err, FFPF_E_DENIED,
				      "no files may be used here. Set " NAMED_FILE_VARIABLE
				      " to the folders that have them");
	fd = find(folders, name);
	if (fd < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s, in the folders of " NAMED_FILE_VARIABLE,
					    name);
	return take(out, fd, name, err);
}

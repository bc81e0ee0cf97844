/* SPDX-License-Identifier: BSD-3-Clause */
#include "host/boards.h"

#include "client/channel.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MS 1000

static const char *
folder(void)
{
	const char *named = secure_getenv("FFPF_IXP_DIR");

	return named && *named ? named : FFPF_IXP_DIR_DEFAULT;
}

int
ffpf_ixp_path(char out[FFPF_IXP_PATH_BYTES], const char *board, struct ffpf_error *err)
{
	int len;

	if (!*board || *board == '.')
		return ffpf_error_set(err, FFPF_E_INVALID, "\"%.40s\" is no name of a board", board);
	if (strchr(board, '/'))
		len = snprintf(out, FFPF_IXP_PATH_BYTES, "%s", board);
	else
		len = snprintf(out, FFPF_IXP_PATH_BYTES, "%s/%s", folder(), board);
	if (len >= FFPF_IXP_PATH_BYTES)
		return ffpf_error_set(err, FFPF_E_INVALID, "%.60s...: too long for a socket's name", board);
	return 0;
}

/* Connecting makes a session, which ends at once. A name that nothing in the file system has costs one system call. */
bool
ffpf_ixp_answers(const char *board)
{
	char path[FFPF_IXP_PATH_BYTES];
	struct stat st;
	int fd;

	if (ffpf_ixp_path(path, board, NULL) || stat(path, &st) == -1 || !S_ISSOCK(st.st_mode))
		return false;
	fd = ffpf_channel_connect(path, ANSWER_MS, NULL);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

void
ffpf_ixp_each(bool (*found)(void *arg, const char *name), void *arg)
{
	struct dirent **entries;
	int count = scandir(folder(), &entries, NULL, alphasort);
	bool more = true;

	for (int i = 0; i < count; i++) {
		if (more && ffpf_ixp_answers(entries[i]->d_name))
			more = found(arg, entries[i]->d_name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "record/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX   512u
#define FIRST_LINE "ffpf-trust 1\n"
#define KEY_WORD   "ed25519 "
#define END_WORD   "not-after "

void
ffpf_trust_id_text(const uint8_t id[FFPF_FPLO_KEY_ID_LEN], char text[FFPF_TRUST_ID_TEXT])
{
	for (unsigned i = 0; i < FFPF_FPLO_KEY_ID_LEN; i++)
		snprintf(text + 2 * (size_t)i, 3, "%02x", id[i]);
}

static bool
is_ours_alone(const struct stat *st)
{
	return (st->st_uid == 0 || st->st_uid == geteuid()) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Steps over `word` at *at. */
static bool
take(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

static bool
take_key(const char **at, uint8_t key[FFPF_FPLO_KEY_LEN])
{
	if (!take(at, KEY_WORD))
		return false;
	for (unsigned i = 0; i < FFPF_FPLO_KEY_LEN; i++) {
		int high = hex((*at)[0]), low = high < 0 ? -1 : hex((*at)[1]);

		if (low < 0)
			return false;
		key[i] = (uint8_t)(high << 4 | low);
		*at += 2;
	}
	return take(at, "\n");
}

/* 2027-01-31T00:00:00Z and the end of the line. */
static bool
take_time(const char **at, time_t *out)
{
	struct tm tm = { 0 };
	const char *end = strptime(*at, "%Y-%m-%dT%H:%M:%SZ", &tm);

	if (!end || end - *at != 20 || *end != '\n')
		return false;
	*at = end + 1;
	*out = timegm(&tm);
	return true;
}

/* *end: when the trust ends; -1: never. */
static bool
parse(const char *text, uint8_t key[FFPF_FPLO_KEY_LEN], time_t *end)
{
	*end = -1;
	if (!take(&text, FIRST_LINE) || !take_key(&text, key))
		return false;
	if (take(&text, END_WORD) && !take_time(&text, end))
		return false;
	return *text == '\0';
}

/* The file's text, ended by NUL. */
static int
read_file(int directory, const char *path, const char *name, char text[FILE_MAX + 1], struct ffpf_error *err)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), status = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return ffpf_error_set(err, FFPF_E_DENIED, "its key is not trusted: there is no %s/%s", path, name);
	if (fd < 0)
		return ffpf_error_set_errno(err, FFPF_E_DENIED, errno, "%s/%s cannot be read", path, name);
	n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, text, FILE_MAX, 0) : -1;
	if (n < 0)
		status = ffpf_error_set(err, FFPF_E_DENIED, "%s/%s cannot be read", path, name);
	else if (!is_ours_alone(&st))
		status = ffpf_error_set(err, FFPF_E_DENIED, "%s/%s is not relied on: others can write it", path, name);
	else
		text[n] = '\0';
	close(fd);
	return status;
}

static int
open_directory(const char *path, struct ffpf_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return ffpf_error_set_errno(err, FFPF_E_DENIED, errno, "no key is trusted: the directory %s", path);
	if (fstat(fd, &st) < 0 || !is_ours_alone(&st)) {
		close(fd);
		return ffpf_error_set(err, FFPF_E_DENIED, "no key is trusted: others can write the directory %s", path);
	}
	return fd;
}

static bool
has_id(const struct ffpf_sodium *sodium, const uint8_t key[FFPF_FPLO_KEY_LEN], const uint8_t id[FFPF_FPLO_KEY_ID_LEN])
{
	uint8_t digest[FFPF_FPLO_DIGEST_LEN];

	return sodium->sha256(digest, key, FFPF_FPLO_KEY_LEN) == 0 && memcmp(digest, id, FFPF_FPLO_KEY_ID_LEN) == 0;
}

int
ffpf_trust_find(const char *directory, const uint8_t id[FFPF_FPLO_KEY_ID_LEN], const struct ffpf_sodium *sodium,
		uint8_t key[FFPF_FPLO_KEY_LEN], struct ffpf_error *err)
{
	char text[FILE_MAX + 1], id_text[FFPF_TRUST_ID_TEXT], name[FFPF_TRUST_ID_TEXT + 4];
	int fd = open_directory(directory, err), status;
	time_t end;

	if (fd < 0)
		return fd;
	ffpf_trust_id_text(id, id_text);
	snprintf(name, sizeof(name), "%s.pub", id_text);
	status = read_file(fd, directory, name, text, err);
	close(fd);
	if (status)
		return status;
	if (!parse(text, key, &end))
		return ffpf_error_set(err, FFPF_E_FORMAT, "%s/%s is no file of a public key", directory, name);
	if (!has_id(sodium, key, id))
		return ffpf_error_set(err, FFPF_E_DENIED, "%s/%s has another key than its name says", directory, name);
	if (end != -1 && time(NULL) > end)
		return ffpf_error_set(err, FFPF_E_DENIED, "its key is trusted no more: see not-after in %s/%s",
				      directory, name);
	return 0;
}

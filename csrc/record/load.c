/* SPDX-License-Identifier: BSD-3-Clause */
#include "record/load.h"
#include "record/sodium.h"
#include "record/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS_MAX  1000000u /* as fpl/fpl2/check.py's Policy */
#define ROUNDS_MAX 65536u
#define MBUF_MAX   (1u << 24)

void
ffpf_fplo_policy_of_environment(struct ffpf_fplo_policy *out)
{
	const char *trust = getenv("FFPF_TRUST"), *require = getenv("FFPF_REQUIRE_SIGNED");

	*out = (struct ffpf_fplo_policy){
		.trust = trust && *trust ? trust : FFPF_TRUST_DEFAULT,
		.require_signed = require && *require && strcmp(require, "0") != 0,
		.steps = STEPS_MAX,
		.rounds = ROUNDS_MAX,
		.mbuf_bytes = MBUF_MAX,
	};
}

static int
denied(struct ffpf_error *err, const char *why)
{
	return ffpf_error_set(err, FFPF_E_DENIED, "%s", why);
}

static bool
has_digest(const struct ffpf_sodium *sodium, const uint8_t *octets, uint32_t len, const uint8_t *digest)
{
	uint8_t found[FFPF_FPLO_DIGEST_LEN];

	return sodium->sha256(found, octets, len) == 0 && memcmp(found, digest, sizeof(found)) == 0;
}

static int
check_seal(const struct ffpf_fplo *record, bool by_key, const char *trust, const struct ffpf_sodium *sodium,
	   struct ffpf_error *err)
{
	const uint8_t *seal = record->octets + record->seal_at;
	uint8_t key[FFPF_FPLO_KEY_LEN];
	int status;

	if (record->seal == FFPF_FPLO_SEAL_DIGEST) {
		if (by_key)
			return denied(err, "it is not signed");
		return has_digest(sodium, record->octets, record->seal_at, seal)
			   ? 0
			   : denied(err, "it was changed: its digest is another");
	}
	status = ffpf_trust_find(trust, record->key_id, sodium, key, err);
	if (status)
		return status;
	return sodium->verify(seal, record->octets, record->seal_at, key) == 0
		   ? 0
		   : denied(err, "it was changed, or forged: the signature is not that of its key");
}

static int
check_digests(const struct ffpf_fplo *record, const struct ffpf_sodium *sodium, struct ffpf_error *err)
{
	struct ffpf_fplo_section section;

	for (uint32_t i = 0; i < record->section_count; i++) {
		ffpf_fplo_section(record, i, &section);
		if (!has_digest(sodium, section.octets, section.len, section.digest))
			return ffpf_error_set(err, FFPF_E_DENIED, "section %" PRIu32 " is not what its digest says", i);
	}
	return 0;
}

static int
check_cost(const struct ffpf_fplo *record, const struct ffpf_fplo_policy *policy, struct ffpf_error *err)
{
	const struct {
		uint64_t declared, most;
		const char *what;
	} limits[] = {
		{ record->steps, policy->steps, "steps" },
		{ record->rounds, policy->rounds, "rounds of loops" },
		{ record->mbuf_bytes, policy->mbuf_bytes, "octets of MBuf" },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (limits[i].declared > limits[i].most)
			return ffpf_error_set(err, FFPF_E_DENIED,
					      "it declares %" PRIu64 " %s, and %" PRIu64 " are allowed",
					      limits[i].declared, limits[i].what, limits[i].most);
	}
	return 0;
}

int
ffpf_fplo_check(struct ffpf_fplo *out, const uint8_t *octets, size_t len, bool by_key,
		const struct ffpf_fplo_policy *policy, struct ffpf_error *err)
{
	struct ffpf_sodium sodium = { 0 };
	int status = ffpf_fplo_parse(out, octets, len, err);

	if (!status)
		status = ffpf_sodium_open(&sodium, err);
	if (!status)
		status = check_seal(out, by_key, policy->trust, &sodium, err);
	if (!status)
		status = check_digests(out, &sodium, err);
	if (!status)
		status = check_cost(out, policy, err);
	ffpf_sodium_close(&sodium);
	return status;
}

/* What fd has, len octets, into memory of our own: nobody changes it between the check and its use. */
static int
read_octets(struct ffpf_fplo_image *out, int fd, size_t len, struct ffpf_error *err)
{
	size_t done = 0;

	out->octets = malloc(len);
	if (!out->octets)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "out of memory");
	while (done < len) {
		ssize_t n = pread(fd, out->octets + done, len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "it cannot be read");
		if (!n)
			return ffpf_error_set(err, FFPF_E_SYSTEM, "it became shorter while it was read");
		done += (size_t)n;
	}
	return 0;
}

int
ffpf_fplo_take(struct ffpf_fplo_image *out, int fd, bool by_key, const struct ffpf_fplo_policy *policy,
	       struct ffpf_error *err)
{
	struct ffpf_fplo_image image = { 0 };
	struct stat st;
	int status;

	if (fstat(fd, &st) < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "it cannot be read");
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > FFPF_FPLO_MAX)
		return ffpf_error_set(err, FFPF_E_FORMAT, "no compilation record: a file of 1 to %u octets",
				      FFPF_FPLO_MAX);
	status = read_octets(&image, fd, (size_t)st.st_size, err);
	if (!status)
		status = ffpf_fplo_check(&image.record, image.octets, (size_t)st.st_size, by_key, policy, err);
	if (status)
		ffpf_fplo_free(&image);
	else
		*out = image;
	return status;
}

int
ffpf_fplo_load(struct ffpf_fplo_image *out, const char *path, const struct ffpf_fplo_policy *policy,
	       struct ffpf_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), status;
	struct ffpf_error why = { 0 };

	if (fd < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s", path);
	status = ffpf_fplo_take(out, fd, true, policy, &why);
	close(fd);
	return status ? ffpf_error_set(err, why.code, "%s: %s", path, why.text) : 0;
}

void
ffpf_fplo_free(struct ffpf_fplo_image *image)
{
	free(image->octets);
	*image = (struct ffpf_fplo_image){ 0 };
}

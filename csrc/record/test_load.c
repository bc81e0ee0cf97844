/* SPDX-License-Identifier: BSD-3-Clause */
/* Records that a key of this test signed: any octet changed, and they are refused; so are keys that are not trusted. */
#include "record/load.h"
#include "record/testing.h"
#include "record/trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* the above before cmocka.h */
#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct signer {
	struct ffpf_sodium sodium;
	int (*keypair)(unsigned char *public, unsigned char *secret);
	int (*sign)(unsigned char *signature, unsigned long long *len, const unsigned char *message,
		    unsigned long long message_len, const unsigned char *secret);
	uint8_t public[FFPF_FPLO_KEY_LEN], secret[64], id[FFPF_FPLO_DIGEST_LEN];
	char directory[64], path[160];
};

static void
find(void *library, const char *name, void *out)
{
	void *found = dlsym(library, name);

	assert_non_null(found);
	memcpy(out, &found, sizeof(found));
}

/* What the key's file says: NULL: as it should. */
static void
trust(struct signer *signer, const char *text, mode_t mode)
{
	char key[2 * FFPF_FPLO_KEY_LEN + 1], id[FFPF_TRUST_ID_TEXT];
	FILE *file;

	for (unsigned i = 0; i < FFPF_FPLO_KEY_LEN; i++)
		snprintf(key + 2 * (size_t)i, 3, "%02x", signer->public[i]);
	ffpf_trust_id_text(signer->id, id);
	snprintf(signer->path, sizeof(signer->path), "%s/%s.pub", signer->directory, id);
	unlink(signer->path);
	file = fopen(signer->path, "w");
	assert_non_null(file);
	fprintf(file, text ? "%s" : "ffpf-trust 1\ned25519 %s\n", text ? text : key);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(signer->path, mode), 0);
}

static int
setup(void **state)
{
	struct signer *signer = calloc(1, sizeof(*signer));
	struct ffpf_error err;

	assert_non_null(signer);
	assert_int_equal(ffpf_sodium_open(&signer->sodium, &err), 0);
	find(signer->sodium.library, "crypto_sign_keypair", &signer->keypair);
	find(signer->sodium.library, "crypto_sign_detached", &signer->sign);
	signer->keypair(signer->public, signer->secret);
	signer->sodium.sha256(signer->id, signer->public, FFPF_FPLO_KEY_LEN);
	snprintf(signer->directory, sizeof(signer->directory), "/tmp/ffpf-trust-XXXXXX");
	assert_non_null(mkdtemp(signer->directory));
	trust(signer, NULL, 0644);
	*state = signer;
	return 0;
}

static int
teardown(void **state)
{
	struct signer *signer = *state;

	unlink(signer->path);
	rmdir(signer->directory);
	ffpf_sodium_close(&signer->sodium);
	free(signer);
	return 0;
}

static void
make_signed(const struct signer *signer, struct made *made, int by_key)
{
	static const struct made_section sections[] = { { 1, FFPF_FPLO_X86_64, 1, "\x31\xc0\xc3", 3 },
							{ 1, FFPF_FPLO_AARCH64, 1, "\x00\x00\x80\x52", 4 } };

	make_record(made, sections, 2, by_key);
	for (uint32_t i = 0; i < 2; i++)
		signer->sodium.sha256(made->octets + MADE_ROWS + 48 * (size_t)i + 16,
				      made->octets + made_section_at(made, i), sections[i].len);
	if (by_key) {
		memcpy(made->octets + 48, signer->id, FFPF_FPLO_KEY_ID_LEN);
		signer->sign(made->octets + made->len - 64, NULL, made->octets, made->len - 64, signer->secret);
	} else {
		signer->sodium.sha256(made->octets + made->len - 32, made->octets, made->len - 32);
	}
}

static struct ffpf_fplo_policy
policy_of(const struct signer *signer)
{
	return (struct ffpf_fplo_policy){ .trust = signer->directory, .steps = 1000, .rounds = 10, .mbuf_bytes = 64 };
}

static int
check(const struct signer *signer, const struct made *made, bool by_key, struct ffpf_error *err)
{
	const struct ffpf_fplo_policy policy = policy_of(signer);
	struct ffpf_fplo record;

	return ffpf_fplo_check(&record, made->octets, made->len, by_key, &policy, err);
}

static void
test_any_octet_changed_is_refused(void **state)
{
	const struct signer *signer = *state;
	struct ffpf_error err;
	struct made made;

	for (int by_key = 0; by_key < 2; by_key++) {
		make_signed(signer, &made, by_key);
		assert_int_equal(check(signer, &made, by_key, &err), 0);
		for (uint32_t i = 0; i < made.len; i++) {
			made.octets[i] ^= (uint8_t)(1 << i % 8);
			assert_int_not_equal(check(signer, &made, by_key, &err), 0);
			made.octets[i] ^= (uint8_t)(1 << i % 8);
		}
		assert_int_equal(check(signer, &made, by_key, &err), 0);
	}
}

static void
test_a_digest_is_no_signature(void **state)
{
	struct signer *signer = *state;
	struct ffpf_error err;
	struct made made;

	make_signed(signer, &made, 0);
	assert_int_equal(check(signer, &made, true, &err), -FFPF_E_DENIED);
	assert_string_equal(err.text, "it is not signed");
}

/* Signed as a whole, and yet a section's digest is another: who signs may err. */
static void
test_a_section_that_is_not_its_digest(void **state)
{
	struct signer *signer = *state;
	struct ffpf_error err;
	struct made made;

	make_signed(signer, &made, 1);
	made.octets[MADE_ROWS + 48 + 16] ^= 1;
	signer->sign(made.octets + made.len - 64, NULL, made.octets, made.len - 64, signer->secret);
	assert_int_equal(check(signer, &made, true, &err), -FFPF_E_DENIED);
	assert_string_equal(err.text, "section 1 is not what its digest says");
}

static void
test_keys_that_are_not_trusted(void **state)
{
	static const struct {
		const char *text; /* NULL: the right one */
		mode_t mode;
		const char *words;
	} files[] = {
		{ "", 0644, "no file of a public key" },
		{ "ffpf-trust 2\n", 0644, "no file of a public key" },
		{ "ffpf-trust 1\ned25519 00\n", 0644, "no file of a public key" },
		{ "ffpf-trust 1\ned25519 0000000000000000000000000000000000000000000000000000000000000000\n", 0644,
		  "another key than its name says" },
		{ NULL, 0664, "others can write it" },
		{ NULL, 0646, "others can write it" },
	};
	struct signer *signer = *state;
	struct ffpf_error err;
	struct made made;

	make_signed(signer, &made, 1);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		trust(signer, files[i].text, files[i].mode);
		assert_int_not_equal(check(signer, &made, true, &err), 0);
		assert_non_null(strstr(err.text, files[i].words));
	}
	unlink(signer->path);
	assert_int_equal(check(signer, &made, true, &err), -FFPF_E_DENIED);
	assert_non_null(strstr(err.text, "its key is not trusted: there is no"));
	trust(signer, NULL, 0644);
	assert_int_equal(chmod(signer->directory, 0777), 0);
	assert_int_equal(check(signer, &made, true, &err), -FFPF_E_DENIED);
	assert_non_null(strstr(err.text, "others can write the directory"));
	assert_int_equal(chmod(signer->directory, 0755), 0);
	assert_int_equal(check(signer, &made, true, &err), 0);
}

static void
test_a_cost_beyond_the_policy(void **state)
{
	struct signer *signer = *state;
	struct ffpf_fplo_policy policy = policy_of(signer);
	struct ffpf_fplo record;
	struct ffpf_error err;
	struct made made;

	make_signed(signer, &made, 1);
	policy.rounds = 9;
	assert_int_equal(ffpf_fplo_check(&record, made.octets, made.len, true, &policy, &err), -FFPF_E_DENIED);
	assert_string_equal(err.text, "it declares 10 rounds of loops, and 9 are allowed");
}

static void
test_files(void **state)
{
	struct signer *signer = *state;
	const struct ffpf_fplo_policy policy = policy_of(signer);
	char path[96];
	struct ffpf_fplo_image image;
	struct ffpf_error err;
	struct made made;
	int fd;

	make_signed(signer, &made, 1);
	snprintf(path, sizeof(path), "%s/web.fplo", signer->directory);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, made.octets, made.len), made.len);
	assert_int_equal(ffpf_fplo_load(&image, path, &policy, &err), 0);
	assert_int_equal(image.record.len, made.len);
	ffpf_fplo_free(&image);
	assert_int_equal(write(fd, "", 1), 1);
	close(fd);
	assert_int_equal(ffpf_fplo_load(&image, path, &policy, &err), -FFPF_E_FORMAT);
	assert_memory_equal(err.text, path, strlen(path));
	assert_int_equal(truncate(path, (off_t)FFPF_FPLO_MAX + 1), 0);
	assert_int_equal(ffpf_fplo_load(&image, path, &policy, &err), -FFPF_E_FORMAT);
	assert_int_equal(ffpf_fplo_load(&image, signer->directory, &policy, &err), -FFPF_E_FORMAT);
	unlink(path);
	assert_int_equal(ffpf_fplo_load(&image, path, &policy, &err), -FFPF_E_SYSTEM);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_octet_changed_is_refused),
		cmocka_unit_test(test_a_digest_is_no_signature),
		cmocka_unit_test(test_a_section_that_is_not_its_digest),
		cmocka_unit_test(test_keys_that_are_not_trusted),
		cmocka_unit_test(test_a_cost_beyond_the_policy),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

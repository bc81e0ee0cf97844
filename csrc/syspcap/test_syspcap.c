/* SPDX-License-Identifier: BSD-3-Clause */
#include "syspcap/compile.h"
#include "syspcap/find.h"
#include "syspcap/syspcap.h"

#include <dlfcn.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* after those it needs */
#include <cmocka.h>

#define ETHERNET 1
#define SNAP     262144
#define UNKNOWN  0xffffffffU

struct code {
	struct ffpf_bpf_insn *insns;
	uint32_t count;
};

static int
compile(struct code *code, const char *text, enum ffpf_filter_form form, struct ffpf_error *err)
{
	*code = (struct code){ NULL, 0 };
	return ffpf_syspcap_compile(&code->insns, &code->count, text, ETHERNET, SNAP, true, UNKNOWN, form, err);
}

static bool
same(const struct code *a, const struct code *b)
{
	return a->count == b->count && memcmp(a->insns, b->insns, a->count * sizeof(*a->insns)) == 0;
}

/* In a child, before anything was loaded: what is loaded stays. Returns what the child's check says. */
static int
with_library(const char *path, int (*check)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		setenv("FFPF_SYSTEM_LIBPCAP", path, 1);
		_exit(check());
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* 0 as it should be; else the number of what is wrong. */
static int
says_that_none_is_there(void)
{
	struct ffpf_error err = { .text = "" };
	struct code code;

	if (ffpf_syspcap_symbol("pcap_compile", &err) != NULL)
		return 1;
	if (err.code != FFPF_E_NOT_SUPPORTED || !strstr(err.text, "the system's libpcap cannot be loaded"))
		return 2;
	if (compile(&code, "ip", FFPF_FORM_DEAD, &err) != -FFPF_E_NOT_SUPPORTED || code.insns)
		return 3;
	if (ffpf_syspcap_symbol("pcap_compile", NULL) != NULL)
		return 4;
	return 0;
}

static void
test_a_missing_library_is_an_error_and_no_crash(void **state)
{
	(void)state;
	assert_int_equal(with_library("/nonexistent/libpcap.so.1", says_that_none_is_there), 0);
	assert_int_equal(with_library("/etc/passwd", says_that_none_is_there), 0);
}

static void
test_a_library_that_is_no_libpcap_is_refused(void **state)
{
	Dl_info libc;

	(void)state;
	assert_int_not_equal(dladdr((void *)getenv, &libc), 0);
	assert_int_equal(with_library(libc.dli_fname, says_that_none_is_there), 0);
}

static void
test_we_never_take_ourselves(void **state)
{
	Dl_info libc;

	(void)state;
	assert_true(ffpf_syspcap_is_ourselves("/proc/self/exe"));
	assert_int_not_equal(dladdr((void *)getenv, &libc), 0);
	assert_false(ffpf_syspcap_is_ourselves(libc.dli_fname));
	assert_false(ffpf_syspcap_is_ourselves("/nonexistent"));
	assert_false(ffpf_syspcap_is_ourselves("/etc/passwd"));
	assert_int_equal(with_library("/proc/self/exe", says_that_none_is_there), 0);
}

static bool
is_sound(const char *path, void *arg)
{
	(void)path;
	++*(int *)arg;
	return false;
}

static void
test_the_library_is_found_in_more_than_one_place(void **state)
{
	int places = 0;

	(void)state;
	assert_false(ffpf_syspcap_find(is_sound, &places));
	assert_true(places >= 2); /* beside the C library by two names, and in the linker's cache */
}

static void
test_symbols_of_the_library_and_of_its_c_library(void **state)
{
	struct ffpf_error err = { .text = "" };
	const char *(*version)(void) = (const char *(*)(void))ffpf_syspcap_symbol("pcap_lib_version", &err);

	(void)state;
	assert_non_null(version);
	assert_memory_equal(version(), "libpcap version ", 16);
	assert_non_null(ffpf_syspcap_symbol("fmemopen", &err));
	assert_ptr_not_equal(ffpf_syspcap_symbol("fclose", &err), fclose);
	assert_null(ffpf_syspcap_symbol("pcap_no_such_function", &err));
	assert_int_equal(err.code, FFPF_E_NOT_SUPPORTED);
}

static void
test_forms_differ_where_libpcap_says_they_do(void **state)
{
	struct ffpf_error err = { .text = "" };
	struct code stored, dead, live;

	(void)state;
	assert_int_equal(compile(&stored, "vlan", FFPF_FORM_SAVEFILE, &err), 0);
	assert_int_equal(compile(&dead, "vlan", FFPF_FORM_DEAD, &err), 0);
	assert_int_equal(compile(&live, "vlan", FFPF_FORM_LIVE, &err), 0);
	assert_true(same(&stored, &dead));
	assert_false(same(&dead, &live));
	assert_int_equal(live.insns[0].code, 0x30);
	assert_int_equal(live.insns[0].k, 0xfffff030);
	free(stored.insns);
	free(dead.insns);
	free(live.insns);

	assert_int_equal(compile(&stored, "inbound", FFPF_FORM_SAVEFILE, &err), -FFPF_E_BAD_FILTER);
	assert_string_equal(err.text, "inbound/outbound not supported on Ethernet when reading savefiles");
	assert_null(stored.insns);
	assert_int_equal(compile(&dead, "inbound", FFPF_FORM_DEAD, &err), 0);
	assert_int_equal(compile(&live, "inbound", FFPF_FORM_LIVE, &err), 0);
	assert_true(same(&dead, &live));
	free(dead.insns);
	free(live.insns);
}

static struct code
compile_by(enum live_way way, const char *text, struct ffpf_error *err)
{
	struct bpf_program program;
	struct code code = { NULL, 0 };
	struct pcap *handle = ffpf_syspcap_live_handle(way, ETHERNET, SNAP, text, err);

	if (!handle)
		return code;
	assert_int_equal(FFPF_SYSPCAP(pcap_compile, err)(handle, &program, text, 1, UNKNOWN), 0);
	code.count = program.bf_len;
	code.insns = malloc(code.count * sizeof(*code.insns));
	assert_non_null(code.insns);
	memcpy(code.insns, program.bf_insns, code.count * sizeof(*code.insns));
	FFPF_SYSPCAP(pcap_freecode, err)(&program);
	FFPF_SYSPCAP(pcap_close, err)(handle);
	return code;
}

static void
test_every_way_to_the_live_form_gives_the_same(void **state)
{
	static const char *const texts[] = { "ip", "tcp port 80", "inbound", "ifindex 3", "host 10.0.0.1 or arp" };
	static const char *const vlan_texts[] = { "vlan", "vlan 5 and ip", "not vlan", "vlan and vlan 7", "(vlan)" };
	struct ffpf_error err = { .text = "" };
	struct code flag, device, dead;

	(void)state;
	assert_int_equal(ffpf_syspcap_live_way(), LIVE_BY_FLAG);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		flag = compile_by(LIVE_BY_FLAG, texts[i], &err);
		device = compile_by(LIVE_BY_DEVICE, texts[i], &err);
		dead = compile_by(LIVE_BY_DEAD, texts[i], &err);
		assert_true(flag.insns && same(&flag, &device) && same(&flag, &dead));
		free(flag.insns);
		free(device.insns);
		free(dead.insns);
	}
	for (size_t i = 0; i < sizeof(vlan_texts) / sizeof(vlan_texts[0]); i++) {
		flag = compile_by(LIVE_BY_FLAG, vlan_texts[i], &err);
		device = compile_by(LIVE_BY_DEVICE, vlan_texts[i], &err);
		assert_true(flag.insns && same(&flag, &device));
		assert_null(compile_by(LIVE_BY_DEAD, vlan_texts[i], &err).insns);
		assert_int_equal(err.code, FFPF_E_NOT_SUPPORTED);
		free(flag.insns);
		free(device.insns);
	}
}

static void
test_a_blank_text_accepts_all_with_and_without_the_library(void **state)
{
	static const char *const blank[] = { NULL, "", "  \t" };
	struct ffpf_error err = { .text = "" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (uint32_t snap_len = 0; snap_len < 70000; snap_len = snap_len * 2 + 1) {
			/* DLT_NULL takes the long way */
			struct code quick = { NULL, 0 }, asked = { NULL, 0 };
			int quick_result = ffpf_syspcap_compile(&quick.insns, &quick.count, blank[i], ETHERNET,
								snap_len, i == 0, UNKNOWN, FFPF_FORM_DEAD, &err);
			int asked_result = ffpf_syspcap_compile(&asked.insns, &asked.count, blank[i], 0, snap_len,
								i == 0, UNKNOWN, FFPF_FORM_DEAD, &err);

			assert_int_equal(quick_result, asked_result);
			assert_int_equal(quick_result, snap_len ? 0 : -FFPF_E_BAD_FILTER);
			assert_true(snap_len == 0 || same(&quick, &asked));
			free(quick.insns);
			free(asked.insns);
		}
	}
}

/* What a thread that did not load the library compiles: names go through the other C library's resolver. */
static void *
compile_names(void *arg)
{
	static const char *const texts[] = { "host localhost", "port http", "ip proto \\igmp", "net 10",
					     "ether proto \\ip" };
	struct ffpf_error err = { .text = "" };
	size_t failed = 0;

	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
			struct code code;

			failed += compile(&code, texts[i], (enum ffpf_filter_form)(round % 4), &err) != 0;
			free(code.insns);
		}
	}
	*(size_t *)arg = failed;
	return NULL;
}

static void
test_threads_compile_names_at_once(void **state)
{
	pthread_t threads[4];
	size_t failed[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, compile_names, &failed[i]), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(failed[i], 0);
	}
}

static void
test_errors_are_those_of_libpcap(void **state)
{
	struct ffpf_error err = { .text = "" };
	struct code code;

	(void)state;
	assert_int_equal(compile(&code, "port http port", FFPF_FORM_DEAD, &err), -FFPF_E_BAD_FILTER);
	assert_string_equal(err.text, "can't parse filter expression: syntax error");
	assert_null(code.insns);
	assert_int_equal(compile(&code, "ip and not ip", FFPF_FORM_LIVE, &err), -FFPF_E_BAD_FILTER);
	assert_string_equal(err.text, "expression rejects all packets");
	assert_int_equal(
	    ffpf_syspcap_compile(&code.insns, &code.count, "ip", 9999, SNAP, true, UNKNOWN, FFPF_FORM_SAVEFILE, &err),
	    -FFPF_E_BAD_FILTER);
	assert_string_equal(err.text, "unknown data link type 9999 (min 104, max 289)");
}

int
main(void)
{
	/* the first three need a process in which no library was loaded yet */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_missing_library_is_an_error_and_no_crash),
		cmocka_unit_test(test_a_library_that_is_no_libpcap_is_refused),
		cmocka_unit_test(test_we_never_take_ourselves),
		cmocka_unit_test(test_the_library_is_found_in_more_than_one_place),
		cmocka_unit_test(test_threads_compile_names_at_once),
		cmocka_unit_test(test_symbols_of_the_library_and_of_its_c_library),
		cmocka_unit_test(test_forms_differ_where_libpcap_says_they_do),
		cmocka_unit_test(test_every_way_to_the_live_form_gives_the_same),
		cmocka_unit_test(test_a_blank_text_accepts_all_with_and_without_the_library),
		cmocka_unit_test(test_errors_are_those_of_libpcap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

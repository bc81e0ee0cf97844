/* SPDX-License-Identifier: BSD-3-Clause */
/* A board's filter as a reader, in each copy mode and from one to the other, and what becomes of it when the board
 * ends, refuses or lies. */
#include "host/testing.h"

#define MODES 3

/* Octet 0 of a packet is its number's lowest: odd numbers pass. */
static struct ffpf_bpf_prog *
odd_only(void)
{
	static const struct ffpf_bpf_insn insns[] = {
		{ 0x30, 0, 0, 0 },      /* ldb [0] */
		{ 0x45, 0, 1, 1 },      /* jset #1 */
		{ 0x06, 0, 0, 262144 }, /* ret #262144 */
		{ 0x06, 0, 0, 0 },      /* ret #0 */
	};
	struct ffpf_bpf_prog *prog = NULL;

	must(ffpf_bpf_prog_create(&prog, insns, 4, FFPF_BPF_INTERPRETER, &test_err));
	return prog;
}

static uint32_t
len_of(uint64_t number)
{
	return 8 + (uint32_t)(number % 300);
}

/* Reads, waiting, until `count` packets came; they must be `step` apart, from *next on. */
static void
read_numbers(struct ffpf_reader *r, uint64_t *next, uint64_t count, uint64_t step)
{
	struct ffpf_batch batch;

	while (count > 0) {
		enum ffpf_outcome outcome = r->ops->next(r, &batch);

		if (outcome != FFPF_BATCH)
			fail_msg("outcome %d: %s", outcome, r->err.text);
		assert_true(batch.count <= count);
		for (uint32_t i = 0; i < batch.count; i++, *next += step) {
			assert_int_equal(test_number(batch.pkts[i].data), *next);
			assert_int_equal(batch.pkts[i].cap_len, len_of(*next));
			assert_true(test_is_whole(batch.pkts[i].data, batch.pkts[i].cap_len));
		}
		r->ops->release(r, batch.count);
		count -= batch.count;
	}
}

static void
send_numbers(struct fake_board *board, uint64_t first, uint64_t count)
{
	for (uint64_t i = first; i < first + count; i++)
		assert_int_equal(test_send(board->hook, i, len_of(i)), 1);
}

static void
check_law(struct ffpf_reader *r, uint64_t seen, uint64_t filtered)
{
	struct ffpf_counters c;

	assert_int_equal(r->ops->counters(r, &c), 0);
	assert_int_equal(c.seen, seen);
	assert_int_equal(c.filtered, filtered);
	assert_int_equal(c.delivered, seen - filtered);
	assert_int_equal(ffpf_counters_dropped(&c), 0);
	assert_int_equal(c.waiting, 0);
}

static void
test_each_mode_delivers_what_the_filter_takes(void **state)
{
	struct ffpf_bpf_prog *prog = odd_only();

	(void)state;
	for (int mode = 0; mode < MODES; mode++) {
		struct fake_board *board = fake_start(FAKE_HONEST);
		struct ffpf_ixp_accesses a;
		struct ffpf_batch batch;
		struct ffpf_reader *r;
		uint64_t next = 0;

		fake_set_mode(board, (enum ffpf_ixp_copy_mode)mode);
		r = fake_open(board, false);
		send_numbers(board, 0, 100);
		read_numbers(r, &next, 100, 1);
		assert_int_equal(ffpf_ixp_mode(r), mode);
		assert_int_equal(ffpf_ixp_engine(r), FAKE_ENGINE);
		assert_int_equal(r->ops->set_filter(r, prog), 0);
		send_numbers(board, 100, 101);
		next = 101;
		read_numbers(r, &next, 50, 2);
		ffpf_hook_close(board->hook);
		assert_int_equal(r->ops->next(r, &batch), FFPF_END);
		check_law(r, 201, 51);
		ffpf_ixp_accesses(r, &a);
		assert_int_equal(a.packets, 201);
		assert_true(a.bursts >= 2 * a.packets && a.reads > 0 && a.writes > 0);
		assert_int_equal(a.copied, mode == FFPF_IXP_COPY_ZERO ? 0 : mode == FFPF_IXP_COPY_ALL ? 201 : 150);
		r->ops->close(r);
		fake_stop(board);
	}
	ffpf_bpf_prog_destroy(prog);
}

/* ---- changing the mode ---- */

#define CHANGING_PACKETS 100000

static void *
send_while_there_is_room(void *arg)
{
	struct fake_board *board = arg;

	for (uint64_t i = 0; i < CHANGING_PACKETS; i++) {
		while (!ffpf_hook_has_room(board->hook, len_of(i)))
			usleep(50);
		test_send(board->hook, i, len_of(i));
	}
	ffpf_hook_close(board->hook);
	return NULL;
}

static void
test_mode_changes_lose_nothing_and_repeat_nothing(void **state)
{
	struct fake_board *board = fake_start(FAKE_HONEST);
	struct ffpf_reader *r = fake_open(board, false);
	uint64_t next = 0, random = test_seed(), changes = 0;
	struct ffpf_batch batch;
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, send_while_there_is_room, board), 0);
	while (next < CHANGING_PACKETS) {
		const uint64_t some = 1 + (random >> 33) % 400;
		const enum ffpf_ixp_copy_mode before = ffpf_ixp_mode(r);

		random = random * 6364136223846793005u + 1442695040888963407u;
		for (uint64_t got = 0; got < some && next < CHANGING_PACKETS;) {
			assert_int_equal(r->ops->next(r, &batch), FFPF_BATCH);
			for (uint32_t i = 0; i < batch.count; i++, next++)
				assert_int_equal(test_number(batch.pkts[i].data), next);
			r->ops->release(r, batch.count);
			got += batch.count;
		}
		changes += ffpf_ixp_mode(r) != before;
		fake_set_mode(board, (enum ffpf_ixp_copy_mode)((random >> 40) % MODES));
	}
	pthread_join(writer, NULL);
	assert_int_equal(r->ops->next(r, &batch), FFPF_END);
	check_law(r, CHANGING_PACKETS, 0);
	assert_true(changes > 10);
	r->ops->close(r);
	fake_stop(board);
}

static void
test_a_reader_that_waits_follows_the_mode(void **state)
{
	struct fake_board *board = fake_start(FAKE_HONEST);
	struct ffpf_reader *r = fake_open(board, true);
	struct pollfd fd = { .fd = r->ops->poll_fd(r), .events = POLLIN };
	struct ffpf_batch batch;
	uint64_t next = 0;

	(void)state;
	for (int mode = 0; mode < 2 * MODES; mode++) {
		while (r->ops->next(r, &batch) == FFPF_WOULD_BLOCK && poll(&fd, 1, 0) == 1)
			; /* what the last change rang for */
		fake_set_mode(board, (enum ffpf_ixp_copy_mode)((mode + 1) % MODES));
		r->ops->settle(r);
		assert_int_equal(poll(&fd, 1, 5000), 1);
		assert_int_equal(r->ops->next(r, &batch), FFPF_WOULD_BLOCK);
		assert_int_equal(ffpf_ixp_mode(r), (mode + 1) % MODES);
		r->ops->settle(r);
		send_numbers(board, next, 10);
		for (uint64_t wanted = next + 10; next < wanted;) {
			enum ffpf_outcome outcome = r->ops->next(r, &batch);

			if (outcome == FFPF_WOULD_BLOCK) {
				r->ops->settle(r);
				assert_int_equal(poll(&fd, 1, 5000), 1);
				continue;
			}
			assert_int_equal(outcome, FFPF_BATCH);
			assert_int_equal(test_number(batch.pkts[0].data), next);
			next += batch.count;
			r->ops->release(r, batch.count);
		}
		r->ops->settle(r);
	}
	r->ops->close(r);
	fake_stop(board);
}

/* ---- ends ---- */

static void
test_what_a_dead_board_published_is_read_before_its_end(void **state)
{
	(void)state;
	for (int mode = 0; mode < MODES; mode++) {
		struct fake_board *board = fake_start(FAKE_HONEST);
		struct ffpf_reader *r;
		struct ffpf_batch batch;
		uint64_t next = 0;

		fake_set_mode(board, (enum ffpf_ixp_copy_mode)mode);
		r = fake_open(board, false);
		send_numbers(board, 0, 60);
		fake_die(board);
		read_numbers(r, &next, 60, 1);
		assert_int_equal(r->ops->next(r, &batch), FFPF_FAILED);
		assert_int_equal(r->err.code, FFPF_E_DEVICE_GONE);
		assert_non_null(strstr(r->err.text, "the board is gone"));
		assert_int_equal(r->ops->next(r, &batch), FFPF_FAILED);
		check_law(r, 60, 0);
		r->ops->close(r);
		fake_bury(board);
	}
}

static void
test_a_hung_engine_says_so(void **state)
{
	struct fake_board *board = fake_start(FAKE_HONEST);
	struct ffpf_reader *r = fake_open(board, true);
	struct ffpf_ixp_engine_registers *engine = &fake_registers(board)->engine[FAKE_ENGINE];
	struct ffpf_batch batch;

	(void)state;
	snprintf(engine->text, sizeof(engine->text), "no progress in 9 cycles");
	atomic_store(&engine->state, FFPF_IXP_ENGINE_HUNG);
	pthread_mutex_lock(&board->lock);
	for (uint32_t i = 0; i < FAKE_SESSIONS; i++) {
		if (board->sessions[i].flow)
			must(ffpf_hook_detach(board->hook, board->sessions[i].flow, &test_err));
	}
	pthread_mutex_unlock(&board->lock);
	assert_int_equal(r->ops->next(r, &batch), FFPF_FAILED);
	assert_int_equal(r->err.code, FFPF_E_DEVICE_GONE);
	assert_non_null(strstr(r->err.text, "microengine 2 hung: no progress in 9 cycles"));
	r->ops->close(r);
	fake_stop(board);
}

static void
test_a_wait_ends_in_time_or_when_woken(void **state)
{
	struct fake_board *board = fake_start(FAKE_HONEST);
	struct ffpf_ixp_config cfg = fake_config(board);
	struct ffpf_reader *r = NULL;
	struct ffpf_batch batch;

	(void)state;
	cfg.timeout_ms = 1;
	must(ffpf_ixp_open(&r, &cfg, &test_err));
	assert_int_equal(r->ops->next(r, &batch), FFPF_TIMEOUT);
	r->ops->wake(r);
	assert_int_equal(r->ops->next(r, &batch), FFPF_INTERRUPTED);
	assert_int_equal(r->ops->next(r, &batch), FFPF_TIMEOUT);
	assert_int_equal(r->ops->inject(r, "x", 1), -FFPF_E_NOT_SUPPORTED);
	r->ops->close(r);
	fake_stop(board);
}

/* ---- boards that refuse or lie ---- */

static void
test_lies_are_errors(void **state)
{
	static const enum ffpf_code codes[FAKE_LIES] = {
		[FAKE_REFUSES_SESSION] = FFPF_E_BUSY,   [FAKE_HANGS_UP] = FFPF_E_DEVICE_GONE, [FAKE_BUSY] = FFPF_E_BUSY,
		[FAKE_STRANGE_STATUS] = FFPF_E_GENERIC, [FAKE_DIES] = FFPF_E_DEVICE_GONE,
	};

	(void)state;
	for (int lie = FAKE_REFUSES_SESSION; lie < FAKE_LIES; lie++) {
		struct fake_board *board = fake_start((enum fake_lie)lie);
		struct ffpf_ixp_config cfg = fake_config(board);
		struct ffpf_reader *r = NULL;
		struct ffpf_error err = { .text = "" };

		assert_int_equal(ffpf_ixp_open(&r, &cfg, &err), -(int)(codes[lie] ? codes[lie] : FFPF_E_INVALID));
		assert_null(r);
		assert_true(err.text[0] != '\0');
		fake_stop(board);
	}
}

static void
test_where_nobody_answers_there_is_no_device(void **state)
{
	struct fake_board *board = fake_start(FAKE_HONEST);
	char path[FFPF_IXP_PATH_BYTES];
	struct ffpf_ixp_config cfg = { .board = path, .snap_len = 65536, .want = 1 };
	struct ffpf_reader *r = NULL;

	(void)state;
	snprintf(path, sizeof(path), "%s", board->path);
	assert_true(ffpf_ixp_answers(path));
	fake_stop(board);
	assert_false(ffpf_ixp_answers(path));
	assert_int_equal(ffpf_ixp_open(&r, &cfg, &test_err), -FFPF_E_NO_SUCH_DEVICE);
}

static bool
keep_found(void *arg, const char *name)
{
	snprintf(arg, 64, "%s", name);
	return true;
}

static void
test_boards_have_names_in_their_folder(void **state)
{
	struct fake_board *board = fake_start(FAKE_HONEST);
	const char *name = strrchr(board->path, '/') + 1;
	char path[FFPF_IXP_PATH_BYTES], found[64] = "", folder[] = "/tmp/ffpf-boards-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(folder));
	setenv("FFPF_IXP_DIR", folder, 1);
	ffpf_ixp_each(keep_found, found);
	assert_string_equal(found, "");
	assert_int_equal(ffpf_ixp_path(path, name, &test_err), 0);
	assert_int_equal(symlink(board->path, path), 0);
	ffpf_ixp_each(keep_found, found);
	assert_string_equal(found, name);
	assert_true(ffpf_ixp_answers(name));
	assert_int_equal(ffpf_ixp_path(path, "..", &test_err), -FFPF_E_INVALID);
	assert_int_equal(ffpf_ixp_path(path, "", &test_err), -FFPF_E_INVALID);
	assert_int_equal(ffpf_ixp_path(path, name, &test_err), 0);
	unlink(path);
	rmdir(folder);
	unsetenv("FFPF_IXP_DIR");
	fake_stop(board);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_mode_delivers_what_the_filter_takes),
		cmocka_unit_test(test_mode_changes_lose_nothing_and_repeat_nothing),
		cmocka_unit_test(test_a_reader_that_waits_follows_the_mode),
		cmocka_unit_test(test_what_a_dead_board_published_is_read_before_its_end),
		cmocka_unit_test(test_a_hung_engine_says_so),
		cmocka_unit_test(test_a_wait_ends_in_time_or_when_woken),
		cmocka_unit_test(test_lies_are_errors),
		cmocka_unit_test(test_where_nobody_answers_there_is_no_device),
		cmocka_unit_test(test_boards_have_names_in_their_folder),
	};

	return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/testing.h"

#include "ring/lane.h"
#include "ring/mbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#define CELLS 16

static struct ffpf_lane *
lane_of(enum ffpf_store_kind store, uint64_t first_lap)
{
	const struct ffpf_lane_config cfg = {
		.pbuf_bytes = CELLS * FFPF_CELL_BYTES, .store = store, .bms = 1, .first_lap = first_lap
	};
	struct ffpf_lane *lane = NULL;

	must(ffpf_lane_create(&lane, &cfg, &test_err));
	return lane;
}

static uint64_t
put(struct ffpf_lane *lane, uint64_t number, uint32_t len)
{
	static uint8_t data[FFPF_PACKET_MAX_BYTES];
	struct ffpf_record rec = { .time_ns = (int64_t)number, .cap_len = len, .wire_len = len + 1, .ifindex = 7 };
	uint32_t cells = ffpf_record_cells(len);
	uint8_t *cell = ffpf_lane_claim(lane, cells);

	test_fill(data, number, len);
	ffpf_lane_store(lane, cell, &rec, NULL, 0, data);
	return ffpf_lane_commit(lane, cell, cells);
}

static void
sizes_that_are_refused(void **state)
{
	static const struct {
		uint64_t bytes, first_lap;
		uint32_t snap_len;
		const char *text;
	} cases[] = {
		{ 0, 0, 0, "PBuf octets: 0 is not a power of two from 512 to 68719476736" },
		{ 256, 0, 0, "PBuf octets: 256 is not a power of two from 512 to 68719476736" },
		{ 1000, 0, 0, "PBuf octets: 1000 is not a power of two from 512 to 68719476736" },
		{ 1ull << 37, 0, 0, "PBuf octets: 137438953472 is not a power of two from 512 to 68719476736" },
		{ 1024, 1ull << 60, 0, "first lap: 1152921504606846976 is too far on" },
		{ 1024, 0, 262097, "snap length: 262097 is more than 262096" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct ffpf_lane_config cfg = { .pbuf_bytes = cases[i].bytes,
						      .first_lap = cases[i].first_lap,
						      .snap_len = cases[i].snap_len };
		struct ffpf_lane *lane = NULL;

		assert_int_equal(ffpf_lane_create(&lane, &cfg, &test_err), -FFPF_E_INVALID);
		assert_string_equal(test_err.text, cases[i].text);
		assert_null(lane);
	}
}

static void
record_has_the_bytes_of_the_layout(void **state)
{
	struct ffpf_lane *lane = lane_of(FFPF_STORE_AUTO, 0);
	const uint8_t *cell = lane->cells;
	struct ffpf_record rec;

	(void)state;
	assert_int_equal(put(lane, 77, 30), CELLS);
	memcpy(&rec, cell, sizeof(rec));
	assert_int_equal(rec.stamp, CELLS);
	assert_int_equal(rec.time_ns, 77);
	assert_int_equal(rec.cap_len, 30);
	assert_int_equal(rec.wire_len, 31);
	assert_int_equal(rec.ifindex, 7);
	assert_int_equal(rec.reserved, 0);
	for (uint32_t i = 0; i < 30; i++)
		assert_int_equal(cell[FFPF_RECORD_DATA + i], test_octet(77, i));
	for (uint32_t i = FFPF_RECORD_DATA + 30; i < 2 * FFPF_CELL_BYTES; i++)
		assert_int_equal(cell[i], 0);
	assert_int_equal(lane->w, CELLS + 2);
	ffpf_lane_destroy(lane);
}

/* W, intent and wrap after each step: {octets, position, cells}. */
static void
positions_and_counters(void **state)
{
	static const struct {
		uint32_t len;
		uint64_t position, w, wrap;
	} steps[] = {
		{ 8, 16, 17, 0 },  { 16, 17, 18, 0 }, { 17, 18, 20, 0 },  { 600, 20, 31, 0 },
		{ 80, 31, 33, 1 }, { 8, 33, 34, 1 },  { 900, 34, 49, 2 }, { 8, 49, 50, 2 },
	};
	struct ffpf_lane *lane = lane_of(FFPF_STORE_MEMCPY, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t published = atomic_load(&lane->page->w);

		assert_int_equal(put(lane, i, steps[i].len), steps[i].position);
		assert_int_equal(atomic_load(&lane->page->w), published);
		assert_int_equal(atomic_load(&lane->page->intent), steps[i].w);
		ffpf_lane_publish(lane);
		assert_int_equal(atomic_load(&lane->page->w), steps[i].w);
		assert_int_equal(atomic_load(&lane->page->wrap), steps[i].wrap);
		assert_int_equal(atomic_load(&lane->page->records), i + 1);
	}
	ffpf_lane_destroy(lane);
}

static void
claim_without_commit_leaves_nothing_but_the_intent(void **state)
{
	struct ffpf_lane *lane = lane_of(FFPF_STORE_MEMCPY, 0);

	(void)state;
	ffpf_lane_claim(lane, 5);
	assert_int_equal(atomic_load(&lane->page->intent), CELLS + 5);
	assert_int_equal(lane->w, CELLS);
	assert_int_equal(put(lane, 1, 8), CELLS);
	/* what the void claim may have overwritten stays announced */
	assert_int_equal(atomic_load(&lane->page->intent), CELLS + 5);
	ffpf_lane_destroy(lane);
}

/* A record that begins in the last cell lies in the slack, in one piece, and the next begins where it would have. */
static void
record_runs_over_the_end(void **state)
{
	static const enum ffpf_store_kind kinds[] = { FFPF_STORE_WORDS, FFPF_STORE_MEMCPY, FFPF_STORE_STREAM };

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		struct ffpf_lane *lane;

		if (kinds[k] == FFPF_STORE_STREAM && !ffpf_store_stream())
			continue;
		lane = lane_of(kinds[k], 0);
		for (uint32_t i = 0; i < CELLS - 1; i++)
			put(lane, i, 8);
		put(lane, 100, 800); /* 14 cells from cell 15 on */
		assert_true(test_is_whole(lane->cells + 15 * FFPF_CELL_BYTES + FFPF_RECORD_DATA, 800));
		assert_int_equal(test_number(lane->cells + FFPF_RECORD_DATA), 0);
		assert_int_equal(put(lane, 101, 8) & (CELLS - 1), 13);
		assert_int_equal(test_number(lane->cells + 13 * FFPF_CELL_BYTES + FFPF_RECORD_DATA), 101);
		ffpf_lane_destroy(lane);
	}
}

static void
every_way_to_store_stores_the_same(void **state)
{
	static const uint32_t lengths[] = { 8, 9, 15, 16, 17, 511, 512, 513, 519, 900, 926, 927 };
	static uint8_t head[32], rest[1000];
	struct ffpf_lane *words = lane_of(FFPF_STORE_WORDS, 0);
	struct ffpf_lane *plain = lane_of(FFPF_STORE_MEMCPY, 0);
	struct ffpf_lane *stream = lane_of(ffpf_store_stream() ? FFPF_STORE_STREAM : FFPF_STORE_AUTO, 0);
	struct ffpf_lane *lanes[] = { words, plain, stream };

	(void)state;
	test_fill(head, 5, sizeof(head));
	test_fill(rest, 6, sizeof(rest));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (uint32_t head_len = 0; head_len <= 32; head_len += 16) {
			for (size_t l = 0; l < 3; l++) {
				struct ffpf_record rec = { .cap_len = lengths[i] };
				uint32_t of_head = head_len < lengths[i] ? head_len : lengths[i];
				uint8_t *cell = ffpf_lane_claim(lanes[l], 16);
				const uint8_t *data = cell + FFPF_RECORD_DATA;

				ffpf_lane_store(lanes[l], cell, &rec, head, of_head, rest);
				ffpf_lane_publish(lanes[l]);
				assert_memory_equal(data, head, of_head);
				assert_memory_equal(data + of_head, rest, lengths[i] - of_head);
			}
		}
	}
	for (size_t l = 0; l < 3; l++)
		ffpf_lane_destroy(lanes[l]);
}

static void
index_names_a_position_across_the_wrap_of_32_bits(void **state)
{
	static const struct {
		uint64_t w, position;
	} cases[] = {
		{ 17, 16 },
		{ 1ull << 32, (1ull << 32) - 1 },
		{ (1ull << 32) + 3, (1ull << 32) - 5 },
		{ (7ull << 32) + 3, (6ull << 32) + 9 },
		{ (7ull << 32) + 3, 7ull << 32 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(ffpf_index_position(cases[i].w, (uint32_t)cases[i].position), cases[i].position);
}

static void
mbuf_masks_every_access(void **state)
{
	struct ffpf_mbuf mbuf;

	(void)state;
	assert_int_equal(ffpf_mbuf_create(&mbuf, 12, FFPF_MEMORY_ANONYMOUS, FFPF_PEER_WRITES, &test_err),
			 -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "MBuf octets: 12 is not a power of two from 8 to 1073741824");
	must(ffpf_mbuf_create(&mbuf, 16, FFPF_MEMORY_ANONYMOUS, FFPF_PEER_WRITES, &test_err));
	ffpf_mbuf_store8(&mbuf, 16 * 5 + 3, 0xab);
	assert_int_equal(ffpf_mbuf_load8(&mbuf, 3), 0xab);
	ffpf_mbuf_store32(&mbuf, UINT32_MAX, 0x01020304); /* the last word of 4 */
	assert_int_equal(ffpf_mbuf_load32(&mbuf, 12), 0x01020304);
	ffpf_mbuf_store64(&mbuf, 15, 0x1122334455667788);
	assert_int_equal(ffpf_mbuf_load64(&mbuf, 8), 0x1122334455667788);
	assert_int_equal(ffpf_mbuf_add32(&mbuf, 16, 2), 0xab000002);
	assert_int_equal(ffpf_mbuf_add64(&mbuf, 9, 1), 0x1122334455667789);
	ffpf_mbuf_close(&mbuf);
}

static void
mbuf_is_shared_with_who_maps_it(void **state)
{
	struct ffpf_mbuf filter, application;

	(void)state;
	must(ffpf_mbuf_create(&filter, 4096, FFPF_MEMORY_FD, FFPF_PEER_WRITES, &test_err));
	must(ffpf_mbuf_map(&application, filter.region.fd, &test_err));
	ffpf_mbuf_add32(&filter, 40, 3);
	ffpf_mbuf_add32(&application, 40, 4);
	assert_int_equal(ffpf_mbuf_load32(&filter, 40), 7);
	ffpf_mbuf_close(&application);
	ffpf_mbuf_close(&filter);
}

static void
memory_for_readers_cannot_be_written_nor_resized(void **state)
{
	struct ffpf_region made, mapped;

	(void)state;
	must(ffpf_region_create(&made, FFPF_KIND_IBUF, 10000, FFPF_MEMORY_FD, FFPF_PEER_READS, &test_err));
	assert_int_equal(made.bytes % FFPF_PAGE_BYTES, 0);
	assert_true(made.bytes >= 10000);
	assert_int_equal((uintptr_t)made.base % FFPF_PAGE_BYTES, 0);
	assert_int_equal(ftruncate(made.fd, 0), -1);
	assert_int_equal(ftruncate(made.fd, 1 << 20), -1);
	assert_int_equal(pwrite(made.fd, "x", 1, 0), -1);
	assert_ptr_equal(mmap(NULL, made.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made.fd, 0), MAP_FAILED);
	assert_int_equal(ffpf_region_map(&mapped, made.fd, FFPF_KIND_IBUF, true, &test_err), -FFPF_E_SYSTEM);
	must(ffpf_region_map(&mapped, made.fd, FFPF_KIND_IBUF, false, &test_err));
	assert_int_equal(mprotect(mapped.base, mapped.bytes, PROT_READ | PROT_WRITE), -1);
	((uint8_t *)made.base)[9999] = 42;
	assert_int_equal(((const uint8_t *)mapped.base)[9999], 42);
	ffpf_region_close(&mapped);
	ffpf_region_close(&made);
}

static void
strange_memory_is_refused(void **state)
{
	struct ffpf_region made, mapped = { .fd = -1 };
	struct ffpf_head *head;
	int unsealed = memfd_create("unsealed", MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(unsealed, 4096), 0);
	assert_int_equal(ffpf_region_map(&mapped, unsealed, FFPF_KIND_IBUF, false, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "ffpf-ibuf: the memory could shrink");
	close(unsealed);
	assert_int_equal(ffpf_region_map(&mapped, -1, FFPF_KIND_IBUF, false, &test_err), -FFPF_E_SYSTEM);

	must(ffpf_region_create(&made, FFPF_KIND_READER, 4096, FFPF_MEMORY_FD, FFPF_PEER_WRITES, &test_err));
	assert_int_equal(ffpf_region_map(&mapped, made.fd, FFPF_KIND_IBUF, false, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "memory of kind 3 where ffpf-ibuf is wanted");
	head = made.base;
	head->version++;
	assert_int_equal(ffpf_region_map(&mapped, made.fd, FFPF_KIND_READER, true, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "layout version 2, this is version 1");
	head->version--;
	head->bytes = 8192;
	assert_int_equal(ffpf_region_map(&mapped, made.fd, FFPF_KIND_READER, true, &test_err), -FFPF_E_INVALID);
	head->bytes = 4096;
	head->magic = 0;
	assert_int_equal(ffpf_region_map(&mapped, made.fd, FFPF_KIND_READER, true, &test_err), -FFPF_E_INVALID);
	assert_string_equal(test_err.text, "not a memory of FFPF");
	assert_null(mapped.base);
	ffpf_region_close(&made);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_that_are_refused),
		cmocka_unit_test(record_has_the_bytes_of_the_layout),
		cmocka_unit_test(positions_and_counters),
		cmocka_unit_test(claim_without_commit_leaves_nothing_but_the_intent),
		cmocka_unit_test(record_runs_over_the_end),
		cmocka_unit_test(every_way_to_store_stores_the_same),
		cmocka_unit_test(index_names_a_position_across_the_wrap_of_32_bits),
		cmocka_unit_test(mbuf_masks_every_access),
		cmocka_unit_test(mbuf_is_shared_with_who_maps_it),
		cmocka_unit_test(memory_for_readers_cannot_be_written_nor_resized),
		cmocka_unit_test(strange_memory_is_refused),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}

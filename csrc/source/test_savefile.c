/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The contract of reader.h, on savefiles: batches, release, set_filter at any time, counters. What files hold is
 * compared with the system's libpcap elsewhere (test_savefile.py).
 *
 * Files here hold numbered packets. A filter passes the numbers that a divisor divides. The model is libpcap's: a
 * position behind the last delivered packet; the next packet is the first from there that passes the filter of now.
 */
#include "bpf/bpf.h"
#include "source/savefile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct divisor {
	struct ffpf_bpf_prog prog; /* first: run() casts */
	uint32_t by;
};

static uint32_t
number_of(const uint8_t *data)
{
	uint32_t n;

	memcpy(&n, data, sizeof(n));
	return n;
}

static uint32_t
run_divisor(const struct ffpf_bpf_prog *prog, const uint8_t *pkt, uint32_t wire_len, uint32_t cap_len,
	    const struct ffpf_bpf_aux *aux)
{
	const struct divisor *d = (const struct divisor *)prog;

	assert_null(aux);
	assert_true(wire_len >= cap_len && cap_len >= 4);
	return number_of(pkt) % d->by ? 0 : 7;
}

static struct divisor
divisor(uint32_t by)
{
	return (struct divisor){ .prog = { .run = run_divisor }, .by = by };
}

static void
put32(FILE *fp, uint32_t v)
{
	assert_int_equal(fwrite(&v, sizeof(v), 1, fp), 1);
}

static void
put_data(FILE *fp, uint32_t number, uint32_t len)
{
	put32(fp, number);
	for (uint32_t i = 4; i < len; i++)
		putc((int)(number + i) & 0xff, fp);
}

static uint32_t
length_of(uint32_t number)
{
	return 4 + (number * 7919u) % 1500;
}

/* A regular file, written through `fp`, which is then read from its start. */
static FILE *
empty_file(void)
{
	int fd = memfd_create("savefile", 0);
	FILE *fp = fdopen(fd, "w+b");

	assert_non_null(fp);
	return fp;
}

static FILE *
pcap_file_of(uint32_t count)
{
	FILE *fp = empty_file();
	const uint32_t header[] = { 0xa1b2c3d4, 4u << 16 | 2, 0, 0, 262144, 1 };

	assert_int_equal(fwrite(header, sizeof(header), 1, fp), 1);
	for (uint32_t n = 0; n < count; n++) {
		put32(fp, n);
		put32(fp, 0);
		put32(fp, length_of(n));
		put32(fp, length_of(n));
		put_data(fp, n, length_of(n));
	}
	rewind(fp);
	return fp;
}

static void
put_interface(FILE *fp)
{
	put32(fp, 1);
	put32(fp, 20);
	put32(fp, 1);
	put32(fp, 0);
	put32(fp, 20);
}

/* Sections of some packets each; packet n is on the last of n % 3 + 1 interfaces that are described just before it. */
static FILE *
pcapng_file_of(uint32_t count)
{
	FILE *fp = empty_file();
	uint32_t interfaces = 0;

	for (uint32_t n = 0; n < count; n++) {
		uint32_t len = length_of(n) & ~3u, total = 32 + len;

		if (n % 17 == 0) {
			const uint32_t section[] = { 0x0a0d0d0a, 28, 0x1a2b3c4d, 1, UINT32_MAX, UINT32_MAX, 28 };

			assert_int_equal(fwrite(section, sizeof(section), 1, fp), 1);
			interfaces = 0;
		}
		for (; interfaces <= n % 17 % 3; interfaces++)
			put_interface(fp);
		put32(fp, 6);
		put32(fp, total);
		put32(fp, n % 17 % 3);
		put32(fp, 0);
		put32(fp, n * 1000000);
		put32(fp, len);
		put32(fp, len);
		put_data(fp, n, len);
		put32(fp, total);
	}
	rewind(fp);
	return fp;
}

static struct ffpf_reader *
open_reader(FILE *fp)
{
	const struct ffpf_savefile_config cfg = { .window_bytes = 65536 };
	struct ffpf_reader *r = NULL;
	struct ffpf_error err;

	if (ffpf_savefile_open(&r, fp, &cfg, &err))
		fail_msg("%s", err.text);
	return r;
}

static void
check_counters(struct ffpf_reader *r, uint64_t seen, uint64_t delivered)
{
	struct ffpf_counters c;

	assert_int_equal(r->ops->counters(r, &c), 0);
	assert_int_equal(c.delivered, delivered);
	assert_int_equal(c.seen, seen);
	assert_int_equal(c.seen, c.filtered + c.delivered + ffpf_counters_dropped(&c));
	assert_int_equal(ffpf_counters_dropped(&c), 0);
}

/* First number from `at` on that passes. */
static uint32_t
next_number(uint32_t at, uint32_t by)
{
	return (at + by - 1) / by * by;
}

static void
check_packet(const struct ffpf_batch *b, const struct ffpf_packet *pkt, uint32_t number, bool filtered)
{
	assert_int_equal(number_of(pkt->data), number);
	assert_in_range(pkt->cap_len, (length_of(number) & ~3u), length_of(number));
	for (uint32_t i = 4; i < pkt->cap_len; i++)
		assert_int_equal(pkt->data[i], (number + i) & 0xff);
	assert_true(pkt->data - 16 >= b->mem_lo && pkt->data + pkt->cap_len <= b->mem_hi);
	assert_int_equal(pkt->result, filtered ? 7 : UINT32_MAX);
	assert_true(pkt->flags & FFPF_PACKET_HEAD_READABLE);
}

static uint32_t
random_below(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33) % n;
}

/* Random next, release and set_filter against the model. */
static void
play(FILE *fp, uint32_t count, uint64_t seed)
{
	static const uint32_t divisors[] = { 1, 2, 3, 50, 997 };
	struct ffpf_reader *r = open_reader(fp);
	struct divisor filters[2] = { divisor(1), divisor(1) };
	uint32_t by = 1, position = 0, in_force = 0;
	uint64_t delivered = 0, state = seed;
	bool filtered = false;
	struct ffpf_batch b;
	enum ffpf_outcome outcome;

	while ((outcome = r->ops->next(r, &b)) == FFPF_BATCH) {
		uint32_t released = 0;

		while (released < b.count) {
			const struct ffpf_packet *last = NULL;
			uint32_t n = 1 + random_below(&state, b.count - released);

			for (uint32_t i = 0; i < n; i++) {
				last = &b.pkts[released++];
				position = next_number(position, by);
				check_packet(&b, last, position++, filtered);
			}
			r->ops->release(r, n);
			delivered += n;
			check_counters(r, position, delivered);
			if (random_below(&state, 4) == 0) {
				uint32_t next_filter = 1 - in_force;

				filtered = random_below(&state, 5) != 0;
				by = filtered ? divisors[random_below(&state, 5)] : 1;
				filters[next_filter].by = by;
				assert_int_equal(r->ops->set_filter(r, filtered ? &filters[next_filter].prog : NULL),
						 0);
				in_force = next_filter;
				assert_int_equal(r->info.filter_kind,
						 filtered ? FFPF_FILTER_INTERPRETER : FFPF_FILTER_NONE);
				check_packet(&b, last, position - 1, last->result == 7); /* still there */
				check_counters(r, position, delivered);
				break;
			}
		}
	}
	assert_int_equal(outcome, FFPF_END);
	assert_true(next_number(position, by) >= count);
	check_counters(r, count, delivered);
	assert_int_equal(r->ops->next(r, &b), FFPF_END);
	r->ops->close(r);
}

static void
test_filters_changed_at_any_time(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		FILE *files[] = { pcap_file_of(2000), pcapng_file_of(2000) };

		print_message("seed=%lu\n", (unsigned long)seed);
		for (int i = 0; i < 2; i++) {
			play(files[i], 2000, seed);
			fclose(files[i]);
		}
	}
}

/* A filter that nothing passes is asked of every packet, and all are counted. */
static void
test_nothing_passes(void **state)
{
	FILE *fp = pcap_file_of(3001);
	struct ffpf_reader *r = open_reader(fp);
	struct divisor never = divisor(1u << 30);
	struct ffpf_batch b;

	(void)state;
	assert_int_equal(r->ops->set_filter(r, &never.prog), 0);
	assert_int_equal(r->ops->next(r, &b), FFPF_BATCH); /* packet 0 */
	assert_int_equal(b.count, 1);
	r->ops->release(r, 1);
	assert_int_equal(r->ops->next(r, &b), FFPF_END);
	check_counters(r, 3001, 1);
	r->ops->close(r);
	fclose(fp);
}

static void
test_more_released_than_there_are(void **state)
{
	FILE *fp = pcap_file_of(3);
	struct ffpf_reader *r = open_reader(fp);
	struct ffpf_batch b;

	(void)state;
	assert_int_equal(r->ops->next(r, &b), FFPF_BATCH);
	r->ops->release(r, 100);
	check_counters(r, 3, 3);
	r->ops->close(r);
	fclose(fp);
}

/* The interface of a packet is known when the batch is given back and served again. */
static void
test_interfaces_and_sections_survive_a_rewind(void **state)
{
	FILE *fp = pcapng_file_of(40);
	struct ffpf_reader *r = open_reader(fp);
	uint32_t n = 0;
	struct ffpf_batch b;

	(void)state;
	while (r->ops->next(r, &b) == FFPF_BATCH) {
		assert_int_equal(number_of(b.pkts[0].data), n);
		assert_int_equal(b.pkts[0].ifindex, n % 17 % 3);
		r->ops->release(r, 1);
		assert_int_equal(r->ops->set_filter(r, NULL), 0);
		n++;
	}
	assert_string_equal(r->err.text, "");
	assert_int_equal(n, 40);
	r->ops->close(r);
	fclose(fp);
}

static void
put_swapped(FILE *fp, uint32_t v)
{
	put32(fp, __builtin_bswap32(v));
}

/* A pseudo header is turned round once, however often the record is read. */
static void
test_swapped_headers_survive_a_rewind(void **state)
{
	FILE *fp = empty_file();
	struct ffpf_reader *r;
	struct ffpf_batch b;

	(void)state;
	put_swapped(fp, 0xa1b2c3d4);
	put_swapped(fp, 2u << 16 | 4);
	put_swapped(fp, 0);
	put_swapped(fp, 0);
	put_swapped(fp, 262144);
	put_swapped(fp, 189); /* USB_LINUX */
	for (uint32_t n = 0; n < 5; n++) {
		put_swapped(fp, n);
		put_swapped(fp, 0);
		put_swapped(fp, 40);
		put_swapped(fp, 40);
		put_swapped(fp, 0);
		put_swapped(fp, n + 1); /* low half of the URB's number */
		for (int i = 0; i < 8; i++)
			put_swapped(fp, 0x01020304);
	}
	rewind(fp);
	r = open_reader(fp);
	for (uint32_t n = 0; n < 5; n++) {
		for (int again = 0; again < 3; again++) {
			assert_int_equal(r->ops->next(r, &b), FFPF_BATCH);
			assert_int_equal(b.count, 5 - n);
			assert_int_equal(number_of(b.pkts[0].data), n + 1);
			assert_int_equal(number_of(b.pkts[b.count - 1].data), 5);
			assert_int_equal(r->ops->set_filter(r, NULL), 0);
		}
		assert_int_equal(r->ops->next(r, &b), FFPF_BATCH);
		r->ops->release(r, 1);
		assert_int_equal(r->ops->set_filter(r, NULL), 0);
	}
	assert_int_equal(r->ops->next(r, &b), FFPF_END);
	r->ops->close(r);
	fclose(fp);
}

static void
test_close_of_nothing(void **state)
{
	FILE *fp = pcap_file_of(0);
	struct ffpf_reader *r = open_reader(fp);
	const struct ffpf_reader_ops *ops = r->ops;
	struct ffpf_batch b;

	(void)state;
	assert_int_equal(ops->next(r, &b), FFPF_END);
	assert_int_equal(ops->poll_fd(r), fileno(fp));
	ops->close(r);
	ops->close(NULL);
	fclose(fp);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters_changed_at_any_time),
		cmocka_unit_test(test_nothing_passes),
		cmocka_unit_test(test_more_released_than_there_are),
		cmocka_unit_test(test_interfaces_and_sections_survive_a_rewind),
		cmocka_unit_test(test_swapped_headers_survive_a_rewind),
		cmocka_unit_test(test_close_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_GRAPH_TESTING_PACKETS_H
#define FFPF_GRAPH_TESTING_PACKETS_H
/* Packets that test programs make: octets are put one header after the other. */
#include "graph/testing.h"
#include "graph/tuple.h"

#include <netinet/in.h>
#include <pcap/dlt.h>
#include <string.h>

struct test_octets {
	uint8_t data[512];
	uint32_t len;
};

static inline void
put(struct test_octets *o, const void *data, uint32_t len)
{
	assert_true(len <= sizeof(o->data) - o->len);
	memcpy(o->data + o->len, data, len);
	o->len += len;
}

static inline void
put8(struct test_octets *o, unsigned value)
{
	put(o, &(uint8_t){ (uint8_t)value }, 1);
}

static inline void
put16(struct test_octets *o, unsigned value)
{
	put8(o, value >> 8);
	put8(o, value);
}

static inline void
put32(struct test_octets *o, uint32_t value)
{
	put16(o, value >> 16);
	put16(o, value);
}

static inline void
put_ether(struct test_octets *o, unsigned type)
{
	put(o, "\2\2\2\2\2\2\1\1\1\1\1\1", 12);
	put16(o, type);
}

struct test_ipv4 {
	uint32_t src, dst; /* host order */
	uint8_t protocol;
	uint16_t piece;   /* flags and offset of a fragment */
	uint32_t options; /* octets, a multiple of 4 */
	uint16_t payload; /* octets that the header says follow it */
};

static inline void
put_ipv4(struct test_octets *o, const struct test_ipv4 *ip)
{
	static const uint8_t nops[40] = { 1, 1, 1, 1 };

	put8(o, 0x45 + ip->options / 4);
	put8(o, 0xb8); /* DSCP 46 */
	put16(o, 20 + ip->options + ip->payload);
	put16(o, 0x1234);
	put16(o, ip->piece);
	put8(o, 64);
	put8(o, ip->protocol);
	put16(o, 0);
	put32(o, ip->src);
	put32(o, ip->dst);
	put(o, nops, ip->options);
}

static inline void
put_ipv6(struct test_octets *o, uint8_t src, uint8_t dst, uint8_t next, uint16_t payload)
{
	uint8_t a[16] = { 0x20, 1, 0xd, 0xb8 };

	put32(o, 0x6b800000); /* DSCP 46 */
	put16(o, payload);
	put8(o, next);
	put8(o, 63);
	a[15] = src;
	put(o, a, 16);
	a[15] = dst;
	put(o, a, 16);
}

static inline void
put_tcp(struct test_octets *o, unsigned sport, unsigned dport, unsigned flags)
{
	put16(o, sport);
	put16(o, dport);
	put32(o, 0x01020304);
	put32(o, 0x05060708);
	put16(o, 0x5000 | flags);
	put16(o, 4321);
	put32(o, 0);
}

static inline void
put_udp(struct test_octets *o, unsigned sport, unsigned dport, unsigned payload)
{
	put16(o, sport);
	put16(o, dport);
	put16(o, 8 + payload);
	put16(o, 0);
}

/* Ethernet, IPv4, TCP without payload. */
static inline struct test_octets
tcp_packet(uint32_t src, unsigned sport, uint32_t dst, unsigned dport, unsigned flags)
{
	struct test_octets o = { .len = 0 };

	put_ether(&o, 0x0800);
	put_ipv4(&o, &(struct test_ipv4){ .src = src, .dst = dst, .protocol = IPPROTO_TCP, .payload = 20 });
	put_tcp(&o, sport, dport, flags);
	return o;
}

static inline uint32_t
test_octets(struct test_filter *f, const struct test_octets *o, uint64_t ts_ns)
{
	return test_packet(f, o->data, o->len, ts_ns);
}

/* What describe() says; to be freed. */
static inline char *
test_report(struct test_filter *f, enum ffpf_report_form form)
{
	struct ffpf_report report;

	ffpf_report_begin(&report, form);
	f->class->describe(f->instance, &report);
	ffpf_report_finish(&report);
	return report.out.data;
}

static inline void
assert_report(struct test_filter *f, enum ffpf_report_form form, const char *expected)
{
	char *text = test_report(f, form);

	assert_string_equal(text, expected);
	free(text);
}

/* Arguments that must be refused, with this text, and the error at this octet. */
static inline void
assert_refused(const char *class, const char *text, uint64_t mbuf_bytes, const char *error, size_t at)
{
	struct test_filter f;

	assert_int_equal(test_parse(&f, class, text, mbuf_bytes), -FFPF_E_INVALID);
	assert_string_equal(f.err.text, error);
	assert_int_equal(f.args.error_at, at);
	test_close(&f);
}

static inline void
assert_canonical(const char *class, const char *text, const char *canonical)
{
	struct test_filter f;

	assert_int_equal(test_parse(&f, class, text, 0), 0);
	assert_string_equal(ffpf_text_get(&f.args.canonical), canonical);
	test_close(&f);
}

/* Numbers that look random and are the same in every run, for inputs of properties: xorshift64 (Marsaglia 2003). */
static inline uint64_t
test_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static inline struct ffpf_packet
packet_of(const struct test_octets *o)
{
	return (struct ffpf_packet){ .data = o->data, .cap_len = o->len, .wire_len = o->len, .result = UINT32_MAX };
}

#endif

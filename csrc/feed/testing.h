/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_FEED_TESTING_H
#define FFPF_FEED_TESTING_H
/* What the test programs of the feed share: savefiles in memory, and readers until the end. */
#include "hook/testing.h"

#include "feed/feed.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

struct pcap_record_header {
	uint32_t sec, frac, cap_len, wire_len;
};

/* Packet `number` of a generated file: its octets say which it is. */
static inline uint32_t
test_file_len(uint64_t number)
{
	return 8 + (uint32_t)(number * 2654435761u % 1400);
}

static inline int64_t
test_file_time(uint64_t number)
{
	return 1700000000000000000 + (int64_t)number * 1000;
}

/* A descriptor of a nanosecond pcap file of `count` packets, a microsecond apart. */
static inline int
test_file(uint32_t count)
{
	static const uint32_t header[] = { 0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, TEST_DLT_EN10MB };
	static _Thread_local uint8_t data[2048];
	int fd = memfd_create("savefile", MFD_CLOEXEC);
	FILE *fp = fdopen(dup(fd), "wb");

	assert_non_null(fp);
	fwrite(header, sizeof(header), 1, fp);
	for (uint64_t i = 0; i < count; i++) {
		const int64_t ns = test_file_time(i);
		const struct pcap_record_header rec = { (uint32_t)(ns / 1000000000), (uint32_t)(ns % 1000000000),
							test_file_len(i), test_file_len(i) };

		test_fill(data, i, rec.cap_len);
		fwrite(&rec, sizeof(rec), 1, fp);
		fwrite(data, rec.cap_len, 1, fp);
	}
	assert_int_equal(fclose(fp), 0);
	return fd;
}

static inline struct ffpf_feed_config
test_feed_config(enum ffpf_feed_full full)
{
	return (struct ffpf_feed_config){ .full = full, .patience_ns = UINT64_MAX, .loops = 1, .hatype = 1 };
}

/* Takes the file's descriptor over. */
static inline struct ffpf_feed *
test_feed(int fd, const struct ffpf_feed_config *cfg)
{
	struct ffpf_feed *feed = NULL;

	must(ffpf_feed_create_savefile(&feed, fd, cfg, &test_err));
	close(fd);
	return feed;
}

/* A reader that waits for as many packets as `want` says, for as long as it takes. */
static inline struct ffpf_reader *
test_waiting_reader(struct ffpf_flow *flow, uint32_t want)
{
	struct ffpf_lanes_config cfg = test_reader_config();
	struct ffpf_reader *r = NULL;

	cfg.nonblock = false;
	cfg.want = want;
	must(ffpf_lanes_open_flow(&r, flow, &cfg, &test_err));
	return r;
}

/* Reads until next() says something else than FFPF_BATCH; *count packets, which must be the file's from *next on. */
static inline enum ffpf_outcome
test_read_file(struct ffpf_reader *r, uint32_t file_count, uint64_t *next)
{
	struct ffpf_batch batch;
	enum ffpf_outcome outcome;

	while ((outcome = r->ops->next(r, &batch)) == FFPF_BATCH) {
		for (uint32_t i = 0; i < batch.count; i++, (*next)++) {
			const struct ffpf_packet *p = &batch.pkts[i];
			const uint64_t number = *next % file_count;

			assert_int_equal(p->cap_len, test_file_len(number));
			assert_int_equal(p->wire_len, p->cap_len);
			assert_int_equal(p->ts_sec * 1000000000 + p->ts_frac, test_file_time(number));
			assert_int_equal(test_number(p->data), number);
			assert_true(test_is_whole(p->data, p->cap_len));
		}
		r->ops->release(r, batch.count);
	}
	return outcome;
}

/* Ends a test of one feed and one hook. */
static inline void
test_feed_close(struct ffpf_feed *feed, struct ffpf_hook *hook, struct ffpf_flow *flow, struct ffpf_reader *r)
{
	ffpf_feed_remove(feed, hook);
	test_close(hook, flow, r);
	ffpf_feed_destroy(feed);
}

static inline struct ffpf_feed_counters
test_feed_counters(const struct ffpf_feed *feed)
{
	struct ffpf_feed_counters c;

	ffpf_feed_counters(feed, &c);
	return c;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ring as it is asked for: of a kernel that is short of memory, and of the real one, on the loopback interface of a
 * network namespace of this process; with a thread that wakes the reader while packets come.
 */
#include "source/live.h"
#include "source/tpacket_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the kernel of this test has left, in octets; asked for more it answers ENOMEM. */
static uint64_t memory_left = UINT64_MAX;
static unsigned refusals;

int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (level == SOL_PACKET && name == PACKET_RX_RING) {
		const struct tpacket_req *req = value;

		if ((uint64_t)req->tp_block_nr * req->tp_block_size > memory_left) {
			refusals++;
			errno = ENOMEM;
			return -1;
		}
	}
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

static int
packet_socket(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static void
shrinks_by_a_twentieth(void **state)
{
	static const struct {
		enum tpacket_layout layout;
		uint32_t packet_bytes;
		size_t wanted;
		uint64_t left;
		size_t granted; /* at least; 0: refused */
	} cases[] = {
		{ TPACKET_BLOCKS, 262144, 64 << 20, UINT64_MAX, 64 << 20 },
		{ TPACKET_BLOCKS, 262144, 64 << 20, 32 << 20, 30 << 20 },
		{ TPACKET_BLOCKS, 262144, 64 << 20, 262144, 262144 },
		{ TPACKET_BLOCKS, 262144, 64 << 20, 262143, 0 },
		{ TPACKET_FRAMES, 65553, 64 << 20, 32 << 20, 30 << 20 },
		{ TPACKET_FRAMES, 96, 8 << 20, 4 << 20, 3 << 20 },
		{ TPACKET_FRAMES, 96, 8 << 20, 4096, 4096 },
		{ TPACKET_FRAMES, 96, 8 << 20, 4095, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tpacket_wanted wanted = { .layout = cases[i].layout,
						 .buffer_bytes = cases[i].wanted,
						 .packet_bytes = cases[i].packet_bytes,
						 .link_header_known = true,
						 .retire_ms = 1000 };
		struct tpacket_ring ring = { 0 };
		struct ffpf_error err;
		int fd = packet_socket();

		memory_left = cases[i].left;
		refusals = 0;
		if (cases[i].granted) {
			assert_int_equal(ffpf_tpacket_ring_create(&ring, fd, &wanted, &err), 0);
			assert_true(ring.ring_bytes >= cases[i].granted && ring.ring_bytes <= memory_left);
			assert_int_equal(ring.ring_bytes, (size_t)ring.unit_count * ring.unit_bytes);
			assert_int_equal(refusals == 0, memory_left == UINT64_MAX);
			ring.mem[ring.ring_bytes - 1] = 1;
			memset(ring.keep - TPACKET_HEAD_BYTES, 1, TPACKET_HEAD_BYTES + wanted.packet_bytes);
			ffpf_tpacket_ring_destroy(&ring, fd);
		} else {
			assert_int_equal(ffpf_tpacket_ring_create(&ring, fd, &wanted, &err), -FFPF_E_SYSTEM);
			assert_string_equal(err.text, "can't create rx ring on packet socket: Cannot allocate memory");
			assert_null(ring.mem);
		}
		memory_left = UINT64_MAX;
		close(fd);
	}
}

struct talk {
	struct ffpf_reader *reader;
	_Atomic bool stop;
	unsigned wakes;
};

static void *
wake_often(void *arg)
{
	struct talk *talk = arg;

	while (!atomic_load(&talk->stop)) {
		talk->reader->ops->wake(talk->reader);
		talk->wakes++;
		usleep(200);
	}
	return NULL;
}

static uint32_t
dropped(struct ffpf_reader *reader)
{
	struct ffpf_counters counters;

	assert_int_equal(reader->ops->counters(reader, &counters), 0);
	return (uint32_t)ffpf_counters_dropped(&counters);
}

/* Every packet comes once and in order, or, where this thread got no processor for a while, is counted as dropped,
 * however often the reader is woken. Each wake is told at most once. */
static void
woken_while_packets_come(void **state)
{
	bool immediate = *(bool *)*state;
	struct ffpf_live_config cfg = { .device = "lo",
					.snap_len = 128,
					.timeout_ms = 2,
					.immediate = immediate,
					.tstamp_type = FFPF_TSTAMP_DEFAULT };
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct talk talk = { .reader = NULL };
	struct ffpf_error err;
	uint32_t next = 0, missed = 0, interrupted = 0;
	const uint32_t count = 2000;
	pthread_t thread;
	int talker = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(talker >= 0);
	assert_int_equal(ffpf_live_open(&talk.reader, &cfg, NULL, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, wake_often, &talk), 0);
	for (uint32_t sent = 0; next < count;) {
		struct ffpf_batch batch;
		enum ffpf_outcome outcome;

		for (unsigned i = 0; i < 20 && sent < count; i++, sent++)
			sendto(talker, &sent, sizeof(sent), 0, (struct sockaddr *)&to, sizeof(to));
		outcome = talk.reader->ops->next(talk.reader, &batch);
		interrupted += outcome == FFPF_INTERRUPTED;
		if (outcome == FFPF_TIMEOUT && sent == count && next - missed + dropped(talk.reader) >= count)
			break; /* what is left */
		if (outcome != FFPF_BATCH)
			continue;
		for (uint32_t i = 0; i < batch.count; i++) {
			uint32_t number;

			if (batch.pkts[i].wire_len != 14 + 28 + sizeof(number)) /* "port unreachable" */
				continue;
			memcpy(&number, batch.pkts[i].data + 14 + 28, sizeof(number));
			assert_in_range(number, next, count - 1);
			missed += number - next;
			next = number + 1;
		}
		talk.reader->ops->release(talk.reader, batch.count);
	}
	atomic_store(&talk.stop, true);
	pthread_join(thread, NULL);
	assert_in_range(interrupted, 1, talk.wakes);
	assert_in_range(missed, 0, dropped(talk.reader));
	talk.reader->ops->close(talk.reader);
	close(talker);
}

/* A namespace without anybody else's packets, with the loopback interface up. */
static int
enter_namespace(void **state)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd;

	(void)state;
	if (unshare(CLONE_NEWNET))
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr))
		return -1;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		return -1;
	return close(fd);
}

int
main(void)
{
	static bool blocks = false, frames = true;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shrinks_by_a_twentieth),
		cmocka_unit_test_prestate(woken_while_packets_come, &blocks),
		cmocka_unit_test_prestate(woken_while_packets_come, &frames),
	};

	return cmocka_run_group_tests_name("live ring", tests, enter_namespace, NULL);
}

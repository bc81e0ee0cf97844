/* SPDX-License-Identifier: BSD-3-Clause */
#include "source/tpacket_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is asked of the kernel and what the mapping needs, computed before either. */
struct plan {
	struct tpacket_req3 req; /* for TPACKET_V2 the kernel reads the part that is struct tpacket_req */
	uint32_t unit_bytes;
	uint32_t units_per_block;
};

static const struct {
	int version;
	const char *name;
	uint32_t header_bytes; /* of a frame: packet header and address, up to where the gap before the data begins */
} layouts[] = {
	[TPACKET_FRAMES] = { TPACKET_V2, "TPACKET_V2", TPACKET2_HDRLEN },
	[TPACKET_BLOCKS] = { TPACKET_V3, "TPACKET_V3", TPACKET3_HDRLEN },
};

/* The kernel leaves at least 14 octets between the address and an Ethernet header, 28 before a network header, and
 * none that can be relied upon before other link headers (tpacket_rcv). What is missing is reserved. */
static uint32_t
reserve_bytes(const struct tpacket_wanted *wanted)
{
	uint32_t gap = wanted->header_bytes ? 28 : wanted->link_header_known ? 14 : 0;
	uint32_t need = TPACKET_HEAD_BYTES + TPACKET_VLAN_BYTES + wanted->header_bytes;

	return need > gap ? need - gap : TPACKET_VLAN_BYTES;
}

/* Blocks: one packet of the largest size must fit, whatever else lies in the block. Frames: whole pages of contiguous
 * units, so that a unit's address is a multiplication. */
static struct plan
make_plan(const struct tpacket_wanted *wanted, uint32_t reserve)
{
	uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
	/* 32: alignment of the headers before the packet; the rest is the block's own header and its private area */
	uint32_t exact = TPACKET_ALIGN(layouts[wanted->layout].header_bytes + 32 + reserve + wanted->packet_bytes);
	struct plan plan = { 0 };
	uint32_t block;

	if (wanted->layout == TPACKET_BLOCKS) {
		for (block = page; block < wanted->packet_bytes; block <<= 1)
			;
		plan.unit_bytes = block;
		plan.units_per_block = 1;
		exact = block;
	} else if (exact > page / 2) {
		block = (exact + page - 1) / page * page;
		plan.unit_bytes = block;
		plan.units_per_block = 1;
	} else {
		for (plan.unit_bytes = 256; plan.unit_bytes < exact; plan.unit_bytes <<= 1)
			;
		block = page;
		plan.units_per_block = page / plan.unit_bytes;
	}
	plan.req.tp_block_size = block;
	plan.req.tp_frame_size = plan.unit_bytes;
	plan.req.tp_frame_nr = (unsigned int)((wanted->buffer_bytes + exact - 1) / exact);
	if (plan.req.tp_frame_nr < plan.units_per_block)
		plan.req.tp_frame_nr = plan.units_per_block;
	plan.req.tp_retire_blk_tov = wanted->retire_ms;
	return plan;
}

/* Asks for the ring; when memory is short, for one that is a twentieth smaller, again and again. */
static int
ask_kernel(int fd, struct plan *plan, struct ffpf_error *err)
{
	struct tpacket_req3 *req = &plan->req;

	for (;;) {
		req->tp_block_nr = req->tp_frame_nr / plan->units_per_block;
		req->tp_frame_nr = req->tp_block_nr * plan->units_per_block;
		if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, req, sizeof(*req)) == 0)
			return 0;
		if (errno != ENOMEM || req->tp_block_nr <= 1)
			return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't create rx ring on packet socket");
		req->tp_frame_nr -= req->tp_frame_nr < 20 ? 1 : req->tp_frame_nr / 20;
		if (req->tp_frame_nr < plan->units_per_block)
			req->tp_frame_nr = plan->units_per_block;
	}
}

/* One range of addresses for the ring and the kept packet, so that one comparison tells whether a pointer is ours. */
static int
map_ring(struct tpacket_ring *ring, int fd, size_t keep_bytes, struct ffpf_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t total = ring->ring_bytes + (TPACKET_HEAD_BYTES + keep_bytes + page - 1) / page * page;
	uint8_t *mem = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED ||
	    mmap(mem, ring->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't mmap rx ring");
		if (mem != MAP_FAILED)
			munmap(mem, total);
		return -FFPF_E_SYSTEM;
	}
	ring->mem = mem;
	ring->mem_end = mem + total;
	ring->keep = mem + ring->ring_bytes + TPACKET_HEAD_BYTES;
	return 0;
}

static int
set_version(int fd, enum tpacket_layout layout, struct ffpf_error *err)
{
	int version = layouts[layout].version;

	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "can't activate %s on packet socket",
					    layouts[layout].name);
	return 0;
}

static void
drop_kernel_ring(int fd)
{
	struct tpacket_req3 none = { 0 };

	setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof(none));
}

int
ffpf_tpacket_ring_create(struct tpacket_ring *ring, int fd, const struct tpacket_wanted *wanted, struct ffpf_error *err)
{
	unsigned int reserve = reserve_bytes(wanted);
	struct plan plan = make_plan(wanted, reserve);
	int rc = set_version(fd, wanted->layout, err);

	if (rc)
		return rc;
	if (setsockopt(fd, SOL_PACKET, PACKET_RESERVE, &reserve, sizeof(reserve)) < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "setsockopt (PACKET_RESERVE)");
	rc = ask_kernel(fd, &plan, err);
	if (rc)
		return rc;
	ring->layout = wanted->layout;
	ring->unit_bytes = plan.unit_bytes;
	ring->unit_count = plan.req.tp_frame_nr;
	ring->ring_bytes = (size_t)plan.req.tp_block_nr * plan.req.tp_block_size;
	rc = map_ring(ring, fd, ring->unit_bytes, err);
	if (rc)
		drop_kernel_ring(fd);
	return rc;
}

void
ffpf_tpacket_ring_destroy(struct tpacket_ring *ring, int fd)
{
	munmap(ring->mem, (size_t)(ring->mem_end - ring->mem));
	drop_kernel_ring(fd);
}

int
ffpf_tpacket_statistics(int fd, uint32_t *packets, uint32_t *drops, struct ffpf_error *err)
{
	struct tpacket_stats_v3 stats = { 0 };
	socklen_t len = sizeof(stats);

	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) < 0)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "failed to get statistics from socket");
	*packets = stats.tp_packets; /* the kernel has added the dropped ones */
	*drops = stats.tp_drops;
	return 0;
}

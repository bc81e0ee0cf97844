/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/mbuf.h"

int
ffpf_mbuf_create(struct ffpf_mbuf *out, uint32_t bytes, enum ffpf_memory memory, enum ffpf_peer peer,
		 struct ffpf_error *err)
{
	struct ffpf_region region;
	struct ffpf_mbuf_page *page;
	int rc = ffpf_size_check("MBuf octets", bytes, FFPF_MBUF_MIN_BYTES, FFPF_MBUF_MAX_BYTES, err);

	if (!rc)
		rc = ffpf_region_create(&region, FFPF_KIND_MBUF, FFPF_PAGE_BYTES + (uint64_t)bytes, memory, peer, err);
	if (rc)
		return rc;
	page = region.base;
	page->data_offset = FFPF_PAGE_BYTES;
	page->bytes_log2 = ffpf_size_log2(bytes);
	*out = (struct ffpf_mbuf){ region, (uint8_t *)region.base + FFPF_PAGE_BYTES, bytes - 1 };
	return 0;
}

int
ffpf_mbuf_map(struct ffpf_mbuf *out, int fd, struct ffpf_error *err)
{
	struct ffpf_region region;
	const struct ffpf_mbuf_page *page;
	uint64_t bytes, offset;
	int rc = ffpf_region_map(&region, fd, FFPF_KIND_MBUF, true, err);

	if (rc)
		return rc;
	page = region.base;
	offset = page->data_offset;
	bytes = page->bytes_log2 < 32 ? 1ull << page->bytes_log2 : 0;
	if (bytes < FFPF_MBUF_MIN_BYTES || bytes > FFPF_MBUF_MAX_BYTES || offset % 8 || offset > region.bytes ||
	    bytes > region.bytes - offset) {
		ffpf_region_close(&region);
		return ffpf_error_set(err, FFPF_E_INVALID, "ffpf-mbuf: its sizes contradict each other");
	}
	*out = (struct ffpf_mbuf){ region, (uint8_t *)region.base + offset, (uint32_t)bytes - 1 };
	return 0;
}

void
ffpf_mbuf_close(struct ffpf_mbuf *mbuf)
{
	ffpf_region_close(&mbuf->region);
	*mbuf = (struct ffpf_mbuf){ .region = { .fd = -1 } };
}

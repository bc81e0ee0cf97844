/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIND_COUNT 6

static const char *const kind_names[KIND_COUNT] = {
	[FFPF_KIND_LANE] = "ffpf-lane", [FFPF_KIND_IBUF] = "ffpf-ibuf",     [FFPF_KIND_READER] = "ffpf-reader",
	[FFPF_KIND_MBUF] = "ffpf-mbuf", [FFPF_KIND_COUNTS] = "ffpf-counts",
};

int
ffpf_size_check(const char *what, uint64_t n, uint64_t lo, uint64_t hi, struct ffpf_error *err)
{
	if (n < lo || n > hi || (n & (n - 1)))
		return ffpf_error_set(err, FFPF_E_INVALID,
				      "%s: %" PRIu64 " is not a power of two from %" PRIu64 " to %" PRIu64, what, n, lo,
				      hi);
	return 0;
}

/* A descriptor of `bytes` octets whose size nobody can change. */
static int
create_fd(const char *name, size_t bytes, struct ffpf_error *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error;

	if (fd == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "memfd_create");
	if (ftruncate(fd, (off_t)bytes) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
		return fd;
	error = errno;
	close(fd);
	return ffpf_error_set_errno(err, FFPF_E_SYSTEM, error, "%s: can't make a memory of %zu octets", name, bytes);
}

int
ffpf_region_create(struct ffpf_region *out, enum ffpf_kind kind, uint64_t bytes, enum ffpf_memory memory,
		   enum ffpf_peer peer, struct ffpf_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct ffpf_region made = { .fd = -1 };
	struct ffpf_head *head;
	int last_seals = F_SEAL_SEAL | (peer == FFPF_PEER_READS ? F_SEAL_FUTURE_WRITE : 0);

	if (bytes > SIZE_MAX - page)
		return ffpf_error_set(err, FFPF_E_INVALID, "%" PRIu64 " octets are too many", bytes);
	made.bytes = ((size_t)bytes + page - 1) / page * page;
	if (memory == FFPF_MEMORY_FD) {
		made.fd = create_fd(kind_names[kind], made.bytes, err);
		if (made.fd < 0)
			return made.fd;
	}
	made.base = mmap(NULL, made.bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | (memory == FFPF_MEMORY_FD ? 0 : MAP_ANONYMOUS), made.fd, 0);
	if (made.base == MAP_FAILED) {
		int error = errno;

		if (made.fd != -1)
			close(made.fd);
		return ffpf_error_set_errno(err, FFPF_E_NO_MEMORY, error, "%s: can't map %zu octets", kind_names[kind],
					    made.bytes);
	}
	head = made.base;
	*head = (struct ffpf_head){ FFPF_LAYOUT_MAGIC, FFPF_LAYOUT_VERSION, (uint16_t)kind, made.bytes };
	/* after the mapping: F_SEAL_FUTURE_WRITE leaves the writable mappings that exist */
	if (made.fd != -1 && fcntl(made.fd, F_ADD_SEALS, last_seals) == -1) {
		int error = errno;

		ffpf_region_close(&made);
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, error, "%s: can't seal the memory", kind_names[kind]);
	}
	*out = made;
	return 0;
}

int
ffpf_region_check(const struct ffpf_region *region, enum ffpf_kind kind, struct ffpf_error *err)
{
	const struct ffpf_head *head = region->base;

	if (region->bytes < FFPF_PAGE_BYTES || head->magic != FFPF_LAYOUT_MAGIC)
		return ffpf_error_set(err, FFPF_E_INVALID, "not a memory of FFPF");
	if (head->version != FFPF_LAYOUT_VERSION)
		return ffpf_error_set(err, FFPF_E_INVALID, "layout version %u, this is version %u", head->version,
				      FFPF_LAYOUT_VERSION);
	if (head->kind != kind)
		return ffpf_error_set(err, FFPF_E_INVALID, "memory of kind %u where %s is wanted", head->kind,
				      kind_names[kind]);
	if (head->bytes != region->bytes)
		return ffpf_error_set(err, FFPF_E_INVALID, "%s: says %" PRIu64 " octets, has %zu", kind_names[kind],
				      head->bytes, region->bytes);
	return 0;
}

int
ffpf_region_map(struct ffpf_region *out, int fd, enum ffpf_kind kind, bool writable, struct ffpf_error *err)
{
	struct ffpf_region made = { .fd = -1 };
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	int rc;

	if (seals == -1 || fstat(fd, &st) == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "%s: not a sealed memory", kind_names[kind]);
	if (!(seals & F_SEAL_SHRINK))
		return ffpf_error_set(err, FFPF_E_INVALID, "%s: the memory could shrink", kind_names[kind]);
	made.bytes = (size_t)st.st_size;
	made.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (made.fd == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "F_DUPFD_CLOEXEC");
	made.base = mmap(NULL, made.bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, made.fd, 0);
	if (made.base == MAP_FAILED) {
		int error = errno;

		close(made.fd);
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, error, "%s: can't map it", kind_names[kind]);
	}
	rc = ffpf_region_check(&made, kind, err);
	if (rc) {
		ffpf_region_close(&made);
		return rc;
	}
	*out = made;
	return 0;
}

void
ffpf_region_close(struct ffpf_region *region)
{
	if (region->base)
		munmap(region->base, region->bytes);
	if (region->base && region->fd != -1)
		close(region->fd);
	*region = (struct ffpf_region){ .fd = -1 };
}

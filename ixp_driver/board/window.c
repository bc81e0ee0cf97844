/* SPDX-License-Identifier: BSD-3-Clause */
#include "board/session.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int
board_window_create(struct board_window *out, size_t bytes, bool host_writes, struct ffpf_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct board_window made = { .bytes = (bytes + page - 1) / page * page };
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (host_writes ? 0 : F_SEAL_FUTURE_WRITE);

	made.fd = memfd_create("ffpf-ixp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (made.fd == -1)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "memfd_create");
	made.base = MAP_FAILED;
	if (ftruncate(made.fd, (off_t)made.bytes) == 0)
		made.base = mmap(NULL, made.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made.fd, 0);
	/* our own mapping stays writable */
	if (made.base == MAP_FAILED || fcntl(made.fd, F_ADD_SEALS, seals) == -1) {
		int error = errno;

		if (made.base != MAP_FAILED)
			munmap(made.base, made.bytes);
		close(made.fd);
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, error, "can't make a window of %zu octets", made.bytes);
	}
	*out = made;
	return 0;
}

void
board_window_close(struct board_window *window)
{
	if (window->base)
		munmap(window->base, window->bytes);
	if (window->fd >= 0)
		close(window->fd);
	*window = (struct board_window){ .fd = -1 };
}

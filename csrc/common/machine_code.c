/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/machine_code.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int
ffpf_machine_code_map(struct ffpf_machine_code *out, const void *octets, size_t len, struct ffpf_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), mem_len = (len + page - 1) / page * page;
	void *mem = mmap(NULL, mem_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, errno, "no memory for the filter's code");
	memcpy(mem, octets, len);
	__builtin___clear_cache(mem, (char *)mem + len);
	if (mprotect(mem, mem_len, PROT_READ | PROT_EXEC) < 0) {
		int cause = errno;

		munmap(mem, mem_len);
		return ffpf_error_set_errno(err, FFPF_E_SYSTEM, cause, "the filter's code may not be run");
	}
	*out = (struct ffpf_machine_code){ .mem = mem, .mem_len = mem_len, .len = len };
	return 0;
}

void
ffpf_machine_code_unmap(struct ffpf_machine_code *code)
{
	if (code->mem)
		munmap(code->mem, code->mem_len);
	*code = (struct ffpf_machine_code){ 0 };
}

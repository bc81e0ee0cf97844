/* SPDX-License-Identifier: BSD-3-Clause */
#include "syspcap/find.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names by which programs ask for libpcap: Debian's, and everybody else's. */
static const char *const names[] = { "libpcap.so.0.8", "libpcap.so.1" };
#define NAMES (sizeof(names) / sizeof(names[0]))

static const char *const usual_dirs[] = { "/usr/lib64", "/lib64", "/usr/lib", "/lib", "/usr/local/lib" };
#define USUAL_DIRS (sizeof(usual_dirs) / sizeof(usual_dirs[0]))

#define NOTE_NAME "FFPF"
#define NOTE_TYPE 1

/* An ELF note: a program header leads to it, so it is found in the file without loading the file. */
__attribute__((section(".note.ffpf"), used, aligned(4))) static const struct {
	ElfW(Nhdr) header;
	char name[8];
} own_note = { { .n_namesz = sizeof(NOTE_NAME), .n_descsz = 0, .n_type = NOTE_TYPE }, NOTE_NAME };

struct mapped_file {
	const uint8_t *mem;
	size_t len;
};

static bool
map_file(struct mapped_file *file, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *mem = MAP_FAILED;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		mem = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (mem == MAP_FAILED)
		return false;
	*file = (struct mapped_file){ mem, (size_t)st.st_size };
	return true;
}

static void
unmap_file(const struct mapped_file *file)
{
	munmap((void *)file->mem, file->len);
}

static bool
inside(const struct mapped_file *file, uint64_t offset, uint64_t len)
{
	return offset <= file->len && len <= file->len - offset;
}

static size_t
padded(uint32_t len)
{
	return ((size_t)len + 3) & ~(size_t)3;
}

static bool
has_own_note(const struct mapped_file *file, const ElfW(Phdr) * segment)
{
	uint64_t at = segment->p_offset, end;

	if (!inside(file, segment->p_offset, segment->p_filesz))
		return false;
	end = at + segment->p_filesz;
	while (end - at >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const void *)(file->mem + at);
		uint64_t len = sizeof(*note) + padded(note->n_namesz) + padded(note->n_descsz);

		if (len > end - at)
			return false;
		if (note->n_type == NOTE_TYPE && note->n_namesz == sizeof(NOTE_NAME) &&
		    memcmp(note + 1, NOTE_NAME, sizeof(NOTE_NAME)) == 0)
			return true;
		at += len;
	}
	return false;
}

static bool
contains_core(const struct mapped_file *file)
{
	const ElfW(Ehdr) *header = (const void *)file->mem;
	const ElfW(Phdr) * segments;

	if (!inside(file, 0, sizeof(*header)) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
	    header->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
	    header->e_phoff % _Alignof(ElfW(Phdr)) != 0 ||
	    !inside(file, header->e_phoff, (uint64_t)header->e_phnum * sizeof(*segments)))
		return false;
	segments = (const void *)(file->mem + header->e_phoff);
	for (unsigned i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_NOTE && segments[i].p_offset % 4 == 0 && has_own_note(file, &segments[i]))
			return true;
	return false;
}

bool
ffpf_syspcap_is_ourselves(const char *path)
{
	struct mapped_file file;
	bool found;

	if (!map_file(&file, path))
		return false;
	found = contains_core(&file);
	unmap_file(&file);
	return found;
}

struct search {
	bool (*visit)(const char *path, void *arg);
	void *arg;
};

static bool
consider(const struct search *search, const char *path)
{
	return access(path, R_OK) == 0 && !ffpf_syspcap_is_ourselves(path) && search->visit(path, search->arg);
}

/* By name first; then any version, for a system where the name is a link that leads to us. */
static bool
consider_dir(const struct search *search, const char *dir)
{
	char path[PATH_MAX];
	glob_t found;
	bool taken = false;

	for (size_t i = 0; i < NAMES; i++)
		if (snprintf(path, sizeof(path), "%s/%s", dir, names[i]) < (int)sizeof(path) && consider(search, path))
			return true;
	if (snprintf(path, sizeof(path), "%s/libpcap.so.[0-9]*", dir) >= (int)sizeof(path))
		return false;
	if (glob(path, 0, NULL, &found) != 0)
		return false;
	for (size_t i = 0; i < found.gl_pathc && !taken; i++)
		taken = consider(search, found.gl_pathv[i]);
	globfree(&found);
	return taken;
}

static bool
consider_libc_dir(const struct search *search)
{
	char dir[PATH_MAX];
	Dl_info info;
	char *slash;

	if (dladdr((void *)getenv, &info) == 0 || !info.dli_fname || info.dli_fname[0] != '/' ||
	    strlen(info.dli_fname) >= sizeof(dir))
		return false;
	strcpy(dir, info.dli_fname);
	slash = strrchr(dir, '/');
	*slash = '\0';
	return consider_dir(search, dir);
}

/* glibc's sysdeps/generic/dl-cache.h (2.36): struct cache_file_new and its entries; offsets count from the magic. */
struct cache_header {
	char magic[20];
	uint32_t entries, strings_len;
	uint8_t flags, unused[3];
	uint32_t extension_offset, reserved[3];
};

struct cache_entry {
	int32_t flags;
	uint32_t name, path;
	uint32_t osversion;
	uint64_t hwcap;
};

static const char *
cache_string(const struct mapped_file *cache, uint32_t offset)
{
	if (offset >= cache->len || !memchr(cache->mem + offset, 0, cache->len - offset))
		return NULL;
	return (const char *)cache->mem + offset;
}

static bool
consider_cache(const struct search *search, const struct mapped_file *cache)
{
	static const char magic[] = "glibc-ld.so.cache1.1";
	const struct cache_header *header = (const void *)cache->mem;
	const struct cache_entry *entries = (const void *)(header + 1);

	if (!inside(cache, 0, sizeof(*header)) || memcmp(header->magic, magic, sizeof(header->magic)) != 0 ||
	    !inside(cache, sizeof(*header), (uint64_t)header->entries * sizeof(*entries)))
		return false;
	for (size_t n = 0; n < NAMES; n++) {
		for (uint32_t i = 0; i < header->entries; i++) {
			const char *name = cache_string(cache, entries[i].name);
			const char *path = cache_string(cache, entries[i].path);

			if (name && path && strcmp(name, names[n]) == 0 && consider(search, path))
				return true;
		}
	}
	return false;
}

bool
ffpf_syspcap_find(bool (*visit)(const char *path, void *arg), void *arg)
{
	const struct search search = { visit, arg };
	const char *wanted = secure_getenv("FFPF_SYSTEM_LIBPCAP");
	struct mapped_file cache;
	bool taken;

	if (wanted && *wanted)
		return consider(&search, wanted);
	if (consider_libc_dir(&search))
		return true;
	if (map_file(&cache, "/etc/ld.so.cache")) {
		taken = consider_cache(&search, &cache);
		unmap_file(&cache);
		if (taken)
			return true;
	}
	for (size_t i = 0; i < USUAL_DIRS; i++)
		if (consider_dir(&search, usual_dirs[i]))
			return true;
	return false;
}

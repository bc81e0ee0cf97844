/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filter text to bytecode, and bytecode to text. The system's libpcap compiles, in its own namespace; the program that
 * the caller gets is memory of this process's libc, since callers free() it.
 */
#include "handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct bpf_insn) == sizeof(struct ffpf_bpf_insn), "one layout for both names");

/* The system's own handle compiles for a device that the system's libpcap serves. */
static int
compile_foreign(struct pcap *p, struct bpf_program *program, const char *text, int optimize, bpf_u_int32 netmask)
{
	struct ffpf_error err;
	struct bpf_program theirs = { 0 };
	__typeof__(&pcap_compile) compile = FFPF_SYSPCAP(pcap_compile, &err);
	__typeof__(&pcap_freecode) freecode = FFPF_SYSPCAP(pcap_freecode, &err);
	__typeof__(&pcap_geterr) geterr = FFPF_SYSPCAP(pcap_geterr, &err);
	struct bpf_insn *insns;

	if (!compile || !freecode || !geterr)
		return ffpf_handle_fail_error(p, &err);
	if (compile(p->foreign, &theirs, text, optimize, netmask) < 0)
		return ffpf_handle_fail(p, PCAP_ERROR, "%s", geterr(p->foreign));
	insns = calloc(theirs.bf_len, sizeof(*insns));
	if (insns) {
		memcpy(insns, theirs.bf_insns, theirs.bf_len * sizeof(*insns));
		*program = (struct bpf_program){ .bf_len = theirs.bf_len, .bf_insns = insns };
	}
	freecode(&theirs);
	return insns ? 0 : ffpf_handle_fail(p, PCAP_ERROR, "malloc: Cannot allocate memory");
}

int
pcap_compile(pcap_t *p, struct bpf_program *program, const char *text, int optimize, bpf_u_int32 netmask)
{
	enum ffpf_filter_form form = p->form;
	struct ffpf_bpf_insn *insns;
	struct ffpf_error err;
	uint32_t count;

	if (!p->activated)
		return ffpf_handle_fail(p, PCAP_ERROR, "not-yet-activated pcap_t passed to pcap_compile");
	if (p->foreign)
		return compile_foreign(p, program, text, optimize, netmask);
	if (form == FFPF_FORM_SAVEFILE && p->swapped)
		form = FFPF_FORM_SAVEFILE_SWAPPED;
	if (ffpf_syspcap_compile(&insns, &count, text, p->link_type, (uint32_t)p->snapshot, optimize != 0, netmask,
				 form, &err) < 0)
		return ffpf_handle_fail(p, PCAP_ERROR, "%s", err.text);
	*program = (struct bpf_program){ .bf_len = count, .bf_insns = (struct bpf_insn *)(void *)insns };
	return 0;
}

/* As libpcap: no way to tell why it failed. */
int
pcap_compile_nopcap(int snaplen, int link_type, struct bpf_program *program, const char *text, int optimize,
		    bpf_u_int32 netmask)
{
	pcap_t *dead = pcap_open_dead(link_type, snaplen);
	int status = PCAP_ERROR;

	if (dead) {
		status = pcap_compile(dead, program, text, optimize, netmask);
		pcap_close(dead);
	}
	return status;
}

void
pcap_freecode(struct bpf_program *program)
{
	free(program->bf_insns);
	*program = (struct bpf_program){ 0 };
}

/* Static memory: the ABI's promise. The words are the system's libpcap's; without one, the numbers alone. */
char *
bpf_image(const struct bpf_insn *insn, int number)
{
	static char text[64];
	__typeof__(&bpf_image) image = FFPF_SYSPCAP(bpf_image, NULL);

	if (image)
		return image(insn, number);
	snprintf(text, sizeof(text), "(%03d) 0x%04x %-10u jt %u jf %u", number, insn->code, insn->k, insn->jt,
		 insn->jf);
	return text;
}

/* To this process's standard output. option: 1 as text, 2 as initialisers of C, 3 as numbers behind a count. */
void
bpf_dump(const struct bpf_program *program, int option)
{
	const struct bpf_insn *insn = program->bf_insns;

	if (option > 2)
		printf("%u\n", program->bf_len);
	for (unsigned i = 0; i < program->bf_len; i++, insn++) {
		if (option > 2)
			printf("%u %u %u %u\n", insn->code, insn->jt, insn->jf, insn->k);
		else if (option > 1)
			printf("{ 0x%x, %u, %u, 0x%08x },\n", insn->code, insn->jt, insn->jf, insn->k);
		else
			puts(bpf_image(insn, (int)i));
	}
}

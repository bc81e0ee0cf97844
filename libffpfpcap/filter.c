/* SPDX-License-Identifier: BSD-3-Clause */
#include "filter.h"

_Static_assert(sizeof(struct bpf_insn) == sizeof(struct ffpf_bpf_insn), "one instruction, two names");

int
ffpf_reader_setfilter(struct pcap *p, const struct bpf_program *program)
{
	const struct ffpf_bpf_insn *insns;
	struct ffpf_error err = { .text = "" };
	struct ffpf_bpf_prog *filter;

	if (!program)
		return ffpf_handle_fail(p, PCAP_ERROR, "setfilter: No filter specified");
	insns = (const struct ffpf_bpf_insn *)program->bf_insns;
	if (!insns || ffpf_bpf_validate(insns, program->bf_len, FFPF_BPF_RULES_LIBPCAP, NULL) < 0)
		return ffpf_handle_fail(p, PCAP_ERROR, "BPF program is not valid");
	if (ffpf_bpf_prog_create(&filter, insns, program->bf_len, FFPF_BPF_AUTO, &err) < 0)
		return ffpf_handle_fail_error(p, &err);
	ffpf_handle_settle(p);
	if (p->reader->ops->set_filter(p->reader, filter) < 0) {
		ffpf_bpf_prog_destroy(filter);
		return ffpf_handle_fail_error(p, &p->reader->err);
	}
	ffpf_handle_forget_batch(p);
	ffpf_bpf_prog_destroy(p->filter);
	p->filter = filter;
	return 0;
}

int
ffpf_reader_serve_again(struct pcap *p)
{
	ffpf_handle_settle(p);
	if (p->reader->ops->set_filter(p->reader, p->filter) < 0)
		return ffpf_handle_fail_error(p, &p->reader->err);
	ffpf_handle_forget_batch(p);
	return 0;
}

int
pcap_setfilter(pcap_t *p, struct bpf_program *fp)
{
	return p->ops->setfilter(p, fp);
}

/* A NULL program accepts everything here, and nothing in pcap_offline_filter: so libpcap has it. */
u_int
bpf_filter(const struct bpf_insn *pc, const u_char *p, u_int wirelen, u_int buflen)
{
	if (!pc)
		return (u_int)-1;
	return ffpf_bpf_interpret((const struct ffpf_bpf_insn *)pc, p, wirelen, buflen, NULL);
}

int
bpf_validate(const struct bpf_insn *f, int len)
{
	return len > 0 &&
	       ffpf_bpf_validate((const struct ffpf_bpf_insn *)f, (uint32_t)len, FFPF_BPF_RULES_LIBPCAP, NULL) == 0;
}

int
pcap_offline_filter(const struct bpf_program *fp, const struct pcap_pkthdr *h, const u_char *pkt)
{
	if (!fp->bf_insns)
		return 0;
	return (int)bpf_filter(fp->bf_insns, pkt, h->len, h->caplen);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who captures on a device. FFPF_ENGINE says it; it is not read in programs that run with more rights than their
 * caller.
 *
 *     auto       ffpfd, when it is there, can and may; else our own reader in this process, where it can; else the
 *                system's libpcap
 *     shared     ffpfd, or an error that says why not
 *     embedded   our own reader, where it can, of an interface or of an IXP1200 board; else the system's libpcap
 *     system     the system's libpcap
 */
#include "live.h"

#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>

/* NULL, or what is asked for that only a capture of one's own can have. */
static const char *
not_shared(const struct pcap *p)
{
	const struct ffpf_handle_options *opt = &p->opt;

	if (ffpf_foreign_device(opt->device))
		return "only the system's libpcap serves this device";
	if (opt->rfmon)
		return "it has no monitor mode";
	if (opt->tstamp_type != -1 && opt->tstamp_type != PCAP_TSTAMP_HOST)
		return "it has only the host's time stamps";
	if (opt->protocol != 0 && opt->protocol != ETH_P_ALL)
		return "it captures all protocols";
	return NULL;
}

static int
activate_embedded(struct pcap *p)
{
	if (ffpf_foreign_device(p->opt.device) || p->opt.rfmon)
		return ffpf_foreign_activate(p);
	if (ffpf_board_named(p->opt.device))
		return ffpf_board_activate(p);
	return ffpf_live_activate(p);
}

/* What is wrong with the device itself, in the words of libpcap. */
static bool
tells_of_device(enum ffpf_code code)
{
	return code == FFPF_E_NO_SUCH_DEVICE || code == FFPF_E_DEVICE_DOWN;
}

static int
activate_auto(struct pcap *p)
{
	struct ffpf_error refusal = { .code = FFPF_E_NO_SERVER };
	int status = PCAP_ERROR;
	char own[100];

	if (!not_shared(p)) {
		status = ffpf_shared_activate(p, &refusal);
		if (status >= 0)
			return status;
	}
	status = activate_embedded(p);
	/* a source that only ffpfd knows, and cannot open */
	if (status == PCAP_ERROR_NO_SUCH_DEVICE && refusal.code == FFPF_E_NOT_SUPPORTED)
		return ffpf_handle_fail(p, status, "ffpfd: %.240s", refusal.text);
	/* who may not capture by himself is told what else stood in the way */
	if (status != PCAP_ERROR_PERM_DENIED || refusal.code == FFPF_E_NO_SERVER)
		return status;
	if (tells_of_device(refusal.code)) {
		p->errbuf[0] = '\0';
		return ffpf_pcap_status(refusal.code);
	}
	snprintf(own, sizeof(own), "%.99s", p->errbuf);
	return ffpf_handle_fail(p, status, "%s; ffpfd: %.140s", own, refusal.text);
}

static int
activate_shared(struct pcap *p)
{
	struct ffpf_error refusal = { .text = "" };
	const char *reason = not_shared(p);
	int status;

	if (reason)
		return ffpf_handle_fail(p, PCAP_ERROR, "FFPF_ENGINE=shared: %s", reason);
	status = ffpf_shared_activate(p, &refusal);
	if (status >= 0 || tells_of_device(refusal.code))
		return status;
	return ffpf_handle_fail(p, status, "FFPF_ENGINE=shared: %.220s", refusal.text);
}

int
ffpf_engine_activate(struct pcap *p)
{
	const char *engine = secure_getenv("FFPF_ENGINE");

	if (!engine || !*engine || strcmp(engine, "auto") == 0)
		return activate_auto(p);
	if (strcmp(engine, "shared") == 0)
		return activate_shared(p);
	if (strcmp(engine, "embedded") == 0)
		return activate_embedded(p);
	if (strcmp(engine, "system") == 0)
		return ffpf_foreign_activate(p);
	return ffpf_handle_fail(
	    p, PCAP_ERROR, "FFPF_ENGINE=%.40s: no such engine; there are auto, shared, embedded and system", engine);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs may ask of a handle, or set on it, once it is open. */
#include "handle.h"

#include "source/live.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

int
pcap_snapshot(pcap_t *p)
{
	return p->activated ? p->snapshot : PCAP_ERROR_NOT_ACTIVATED;
}

int
pcap_bufsize(pcap_t *p)
{
	return p->activated ? p->buffer_bytes : PCAP_ERROR_NOT_ACTIVATED;
}

int
pcap_is_swapped(pcap_t *p)
{
	return p->activated ? p->swapped : PCAP_ERROR_NOT_ACTIVATED;
}

int
pcap_major_version(pcap_t *p)
{
	return p->activated ? p->version_major : PCAP_ERROR_NOT_ACTIVATED;
}

int
pcap_minor_version(pcap_t *p)
{
	return p->activated ? p->version_minor : PCAP_ERROR_NOT_ACTIVATED;
}

int
pcap_fileno(pcap_t *p)
{
	return p->fd;
}

int
pcap_get_selectable_fd(pcap_t *p)
{
	return p->selectable_fd;
}

const struct timeval *
pcap_get_required_select_timeout(pcap_t *p)
{
	static const struct timeval often = { .tv_usec = 1000 };

	if (p->foreign) {
		struct ffpf_error err;

		return FFPF_SYSPCAP(pcap_get_required_select_timeout, &err)(p->foreign);
	}
	return p->ops == &ffpf_live_ops && ffpf_live_needs_polling(p->reader) ? &often : NULL;
}

int
pcap_datalink(pcap_t *p)
{
	return p->activated ? p->link_type : PCAP_ERROR_NOT_ACTIVATED;
}

int
pcap_datalink_ext(pcap_t *p)
{
	return p->activated ? p->link_type_ext : PCAP_ERROR_NOT_ACTIVATED;
}

int
pcap_list_datalinks(pcap_t *p, int **dlt_buffer)
{
	const int *choices = p->link_type_count ? p->link_types : &p->link_type;
	int count = p->link_type_count ? p->link_type_count : 1;

	if (!p->activated)
		return PCAP_ERROR_NOT_ACTIVATED;
	*dlt_buffer = malloc((size_t)count * sizeof(**dlt_buffer));
	if (!*dlt_buffer)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "malloc");
	memcpy(*dlt_buffer, choices, (size_t)count * sizeof(**dlt_buffer));
	return count;
}

void
pcap_free_datalinks(int *dlt_list)
{
	free(dlt_list);
}

static bool
offers(const struct pcap *p, int dlt)
{
	if (p->link_type_count == 0)
		return dlt == p->link_type;
	for (int i = 0; i < p->link_type_count; i++)
		if (p->link_types[i] == dlt)
			return true;
	return false;
}

int
pcap_set_datalink(pcap_t *p, int dlt)
{
	const char *name;

	if (dlt >= 0 && offers(p, dlt)) {
		if (p->link_type_count == 0)
			return 0;
		if (p->ops->set_datalink(p, dlt) < 0)
			return PCAP_ERROR;
		p->link_type = dlt;
		return 0;
	}
	name = pcap_datalink_val_to_name(dlt);
	if (name)
		return ffpf_handle_fail(p, PCAP_ERROR, "%s is not one of the DLTs supported by this device", name);
	return ffpf_handle_fail(p, PCAP_ERROR, "DLT %d is not one of the DLTs supported by this device", dlt);
}

/* The text is given twice, in the handle and in the caller's buffer, as the manual says. */
static int
nonblock_result(struct pcap *p, int result, char *errbuf)
{
	if (result == PCAP_ERROR)
		snprintf(errbuf, PCAP_ERRBUF_SIZE, "%s", p->errbuf);
	return result;
}

int
pcap_getnonblock(pcap_t *p, char *errbuf)
{
	return nonblock_result(p, p->ops->getnonblock(p), errbuf);
}

int
pcap_setnonblock(pcap_t *p, int nonblock, char *errbuf)
{
	return nonblock_result(p, p->ops->setnonblock(p, nonblock), errbuf);
}

int
pcap_setdirection(pcap_t *p, pcap_direction_t d)
{
	if (d != PCAP_D_IN && d != PCAP_D_OUT && d != PCAP_D_INOUT)
		return ffpf_handle_fail(p, PCAP_ERROR, "Invalid direction");
	return p->ops->setdirection(p, d);
}

int
pcap_can_set_rfmon(pcap_t *p)
{
	return p->ops->can_set_rfmon(p);
}

int
pcap_stats(pcap_t *p, struct pcap_stat *ps)
{
	return p->ops->stats(p, ps);
}

/* libpcap adds errno's text to these two refusals, whatever errno happens to be. */
int
pcap_inject(pcap_t *p, const void *buf, size_t size)
{
	if (size > INT_MAX)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "More than %d bytes cannot be injected", INT_MAX);
	if (size == 0)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno,
					      "The number of bytes to be injected must not be zero");
	return p->ops->inject(p, buf, (int)size);
}

int
pcap_sendpacket(pcap_t *p, const u_char *buf, int size)
{
	if (size <= 0)
		return ffpf_handle_fail_errno(p, PCAP_ERROR, errno, "The number of bytes to be sent must be positive");
	return p->ops->inject(p, buf, size) == PCAP_ERROR ? PCAP_ERROR : 0;
}

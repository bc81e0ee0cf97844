/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Headers before the packet that the capturing host wrote in its own byte order. In a savefile of the other order they
 * are turned round in place, each field only if it was captured whole. Layouts: OpenBSD's net/if_pflog.h, linux/can.h
 * (after the SLL and SLL2 headers), usbmon's binary interface (Documentation/usb/usbmon.rst), and NFLOG's type-length-
 * value items.
 */
#include "source/savefile_internal.h"

#include <pcap/dlt.h>

static void
swap16(uint8_t *p)
{
	uint16_t v = get16(p, true);

	memcpy(p, &v, sizeof(v));
}

static void
swap32(uint8_t *p)
{
	uint32_t v = get32(p, true);

	memcpy(p, &v, sizeof(v));
}

static void
swap64(uint8_t *p)
{
	uint64_t v = get64(p, true);

	memcpy(p, &v, sizeof(v));
}

static void
pflog(uint8_t *data, uint32_t cap_len, uint32_t *wire_len, bool swap)
{
	uint32_t uid = 44; /* uid, pid, rule_uid, rule_pid follow one another */

	if (!swap)
		return;
	for (uint32_t at = uid; at < uid + 16; at += 4) {
		if (cap_len < at + 4 || *wire_len < at + 4 || data[0] < at + 4)
			return; /* octet 0 is the header's own length */
		swap32(data + at);
	}
}

/* SLL and SLL2: the protocol number is in network order, but the CAN identifier behind the header is not. */
static void
can_behind(uint8_t *data, uint32_t cap_len, uint32_t wire_len, uint32_t header_len, uint32_t protocol_at)
{
	const uint16_t can = 0x000c, can_fd = 0x000d;
	uint16_t protocol;

	if (cap_len < header_len + 4 || wire_len < header_len + 4)
		return;
	protocol = (uint16_t)(data[protocol_at] << 8 | data[protocol_at + 1]);
	if (protocol == can || protocol == can_fd)
		swap32(data + header_len);
}

static void
linux_sll(uint8_t *data, uint32_t cap_len, uint32_t *wire_len, bool swap)
{
	if (swap)
		can_behind(data, cap_len, *wire_len, 16, 14);
}

static void
linux_sll2(uint8_t *data, uint32_t cap_len, uint32_t *wire_len, bool swap)
{
	if (swap)
		can_behind(data, cap_len, *wire_len, 20, 0);
}

/* Items of length 2, type 2, value, padded to four octets, after a header of family, version, resource. */
static void
nflog(uint8_t *data, uint32_t cap_len, uint32_t *wire_len, bool swap)
{
	const uint32_t header_len = 4, item_header_len = 4;
	uint32_t cap_left, wire_left;

	if (!swap || cap_len < header_len || *wire_len < header_len || data[1] != 0)
		return;
	cap_left = cap_len - header_len;
	wire_left = *wire_len - header_len;
	data += header_len;
	while (cap_left >= item_header_len) {
		uint16_t len;

		swap16(data);
		swap16(data + 2);
		len = (uint16_t)((get16(data, false) + 3u) & ~3u); /* as libpcap: 65533 and above become 0 */
		if (len < item_header_len || cap_left < len || wire_left < len)
			return;
		data += len;
		cap_left -= len;
		wire_left -= len;
	}
}

enum {
	USB_EVENT_TYPE = 8,
	USB_TRANSFER_TYPE = 9,
	USB_ENDPOINT = 10,
	USB_DATA_FLAG = 15, /* 0: data is there */
	USB_URB_LEN = 32,
	USB_NDESC = 60,
	USB_HEADER_LEN = 64,
	USB_ISODESC_LEN = 16, /* status, offset, len, padding */

	USB_ISOCHRONOUS = 0,
	USB_COMPLETE = 'C',
	USB_IN = 0x80,
};

struct field {
	uint8_t at, len;
};

/* Turns round the fields that were captured whole, in their order. False: one was not, and there it ends. */
static bool
swap_fields(uint8_t *data, uint32_t cap_len, const struct field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t *p = data + fields[i].at;

		if (cap_len < (uint32_t)fields[i].at + fields[i].len)
			return false;
		if (fields[i].len == 8)
			swap64(p);
		else if (fields[i].len == 4)
			swap32(p);
		else
			swap16(p);
	}
	return true;
}

#define FIELDS(...)                                                                                                    \
	(const struct field[]){ __VA_ARGS__ }, sizeof((const struct field[]){ __VA_ARGS__ }) / sizeof(struct field)

static bool
usb_swap_start(uint8_t *data, uint32_t cap_len)
{
	/* id, bus, seconds, microseconds, status, length of the URB, length captured */
	if (!swap_fields(data, cap_len,
			 FIELDS({ 0, 8 }, { 12, 2 }, { 16, 8 }, { 24, 4 }, { 28, 4 }, { 32, 4 }, { 36, 4 })))
		return false;
	/* Errors and number of descriptors, of an isochronous transfer; a control transfer's set-up stays as it is. */
	return data[USB_TRANSFER_TYPE] != USB_ISOCHRONOUS || swap_fields(data, cap_len, FIELDS({ 40, 4 }, { 44, 4 }));
}

static void
usb_swap_descriptors(uint8_t *data, uint32_t cap_len)
{
	uint64_t count = get32(data + USB_NDESC, false);

	for (uint64_t i = 0, at = USB_HEADER_LEN; i < count; i++, at += USB_ISODESC_LEN)
		for (uint64_t field = at; field < at + 12; field += 4) {
			if (cap_len < field + 4)
				return;
			swap32(data + field);
		}
}

/*
 * The wire length of the completion of an isochronous transfer inwards was once taken from the URB's length. The data
 * lies scattered: it ends where the last descriptor's chunk ends. All arithmetic is modulo 2^32, as libpcap's is.
 */
static void
usb_fix_length(const uint8_t *data, uint32_t cap_len, uint32_t *wire_len)
{
	uint32_t count = get32(data + USB_NDESC, false), left = cap_len - USB_HEADER_LEN, data_end = 0, fixed;

	if (data[USB_DATA_FLAG] || data[USB_TRANSFER_TYPE] != USB_ISOCHRONOUS || data[USB_EVENT_TYPE] != USB_COMPLETE ||
	    !(data[USB_ENDPOINT] & USB_IN) ||
	    *wire_len !=
		(uint64_t)USB_HEADER_LEN + (uint64_t)count * USB_ISODESC_LEN + get32(data + USB_URB_LEN, false))
		return;
	for (uint32_t i = 0; i < count && left >= USB_ISODESC_LEN; i++, left -= USB_ISODESC_LEN) {
		const uint8_t *descriptor = data + USB_HEADER_LEN + (size_t)i * USB_ISODESC_LEN;
		uint32_t offset = get32(descriptor + 4, false), len = get32(descriptor + 8, false);

		if (len && offset + len > data_end)
			data_end = offset + len;
	}
	fixed = USB_HEADER_LEN + count * USB_ISODESC_LEN + data_end;
	if (fixed >= cap_len)
		*wire_len = fixed;
	if (cap_len > *wire_len)
		*wire_len = cap_len;
}

static void
usb_linux(uint8_t *data, uint32_t cap_len, uint32_t *wire_len, bool swap)
{
	(void)wire_len;
	if (swap)
		usb_swap_start(data, cap_len);
}

static void
usb_linux_mmapped(uint8_t *data, uint32_t cap_len, uint32_t *wire_len, bool swap)
{
	/* interval, start frame, flags, number of descriptors */
	if (swap && usb_swap_start(data, cap_len) &&
	    swap_fields(data, cap_len, FIELDS({ 48, 4 }, { 52, 4 }, { 56, 4 }, { 60, 4 })) &&
	    data[USB_TRANSFER_TYPE] == USB_ISOCHRONOUS)
		usb_swap_descriptors(data, cap_len);
	if (cap_len >= USB_HEADER_LEN)
		usb_fix_length(data, cap_len, wire_len);
}

pseudo_fn
ffpf_savefile_pseudo_for(int dlt, bool swapped)
{
	switch (dlt) {
	case DLT_USB_LINUX_MMAPPED:
		return usb_linux_mmapped;
	case DLT_PFLOG:
		return swapped ? pflog : NULL;
	case DLT_LINUX_SLL:
		return swapped ? linux_sll : NULL;
	case DLT_LINUX_SLL2:
		return swapped ? linux_sll2 : NULL;
	case DLT_USB_LINUX:
		return swapped ? usb_linux : NULL;
	case DLT_NFLOG:
		return swapped ? nflog : NULL;
	default:
		return NULL;
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_SOURCE_LIVE_DEVICE_H
#define FFPF_SOURCE_LIVE_DEVICE_H
/* What the kernel tells about a network interface. fd is any socket of the interface's network namespace. */
#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Index (> 0) or -code. */
int ffpf_device_index(int fd, const char *device, struct ffpf_error *err);
/* ARPHRD_* value or -code; -FFPF_E_NO_SUCH_DEVICE with an empty text. */
int ffpf_device_hardware_type(int fd, const char *device, struct ffpf_error *err);
/* The largest frame that the interface hands to a packet socket, Ethernet header and FCS included, or -code. */
int ffpf_device_largest_frame(int fd, const char *device, struct ffpf_error *err);

/* Binds a packet socket to an interface (index; 0: all) and a protocol (host order; 0: receives nothing).
 * -FFPF_E_DEVICE_DOWN and -FFPF_E_NO_SUCH_DEVICE with an empty text. */
int ffpf_device_bind(int fd, int ifindex, uint16_t protocol, struct ffpf_error *err);

enum device_state { DEVICE_IS_UP, DEVICE_IS_DOWN, DEVICE_IS_GONE };
/* State of the interface that packet socket fd was bound to, by index: a renamed interface is still there.
 * enum device_state or -code. */
int ffpf_device_state(int fd, int ifindex, struct ffpf_error *err);

/* Packets that the interface itself lost: missed and FIFO errors of its statistics in sysfs; 0 when it has none. */
uint64_t ffpf_device_lost(const char *device);

bool ffpf_device_is_wifi(const char *device);

/* First line of /sys/class/net/DEVICE/ATTRIBUTE without its end; its length, or -1. */
int ffpf_device_attribute(const char *device, const char *attribute, char *buf, int size);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_H
#define FFPF_H
/* The one public header of the core. What each part promises is said in the header of its room. */
#include "bpf/bpf.h"
#include "common/error.h"
#include "reader/packet.h"
#include "reader/reader.h"
#include "source/live.h"
#include "source/savefile.h"
#include "source/savefile_linktype.h"
#include "syspcap/syspcap.h"

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FFPF_H
#define FFPF_H
/* The one public header of the core. What each part promises is said in the header of its room. */
#include "bms/bms.h"
#include "bpf/bpf.h"
#include "client/shared.h"
#include "common/error.h"
#include "common/text.h"
#include "feed/feed.h"
#include "graph/class.h"
#include "graph/class_bytecount.h"
#include "graph/class_packetcount.h"
#include "hook/flow.h"
#include "hook/hook.h"
#include "kernel/kernel.h"
#include "kernel/kernel_layout.h"
#include "lanes/lanes.h"
#include "layout.h"
#include "reader/packet.h"
#include "reader/reader.h"
#include "ring/ibuf.h"
#include "ring/lane.h"
#include "ring/mbuf.h"
#include "ring/region.h"
#include "ring/store.h"
#include "ring/view.h"
#include "source/live.h"
#include "source/live_link_type.h"
#include "source/savefile.h"
#include "source/savefile_linktype.h"
#include "syspcap/syspcap.h"

#endif

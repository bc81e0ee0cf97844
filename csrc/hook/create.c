/* SPDX-License-Identifier: BSD-3-Clause */
#include "hook/hook_internal.h"

#include <stdlib.h>

#define COOKED_BYTES 20

static int
check_config(const struct ffpf_hook_config *cfg, struct ffpf_error *err)
{
	if (!ffpf_bms_find(cfg->bms))
		return ffpf_error_set(err, FFPF_E_INVALID, "there is no BMS %d", (int)cfg->bms);
	if (cfg->vlan_offset < -1 || cfg->vlan_offset > FFPF_HOOK_VLAN_OFFSET_MAX)
		return ffpf_error_set(err, FFPF_E_INVALID, "VLAN offset: %d is not from -1 to %d", cfg->vlan_offset,
				      FFPF_HOOK_VLAN_OFFSET_MAX);
	if (cfg->publish_batch == 0)
		return ffpf_error_set(err, FFPF_E_INVALID, "batch: at least one packet");
	return 0;
}

static int
create_lane(struct ffpf_hook *hook, const struct ffpf_hook_config *cfg, struct ffpf_error *err)
{
	const struct ffpf_lane_config lane = {
		.pbuf_bytes = cfg->pbuf_bytes,
		.memory = cfg->memory,
		.store = hook->bms->readers_race ? FFPF_STORE_WORDS : cfg->store,
		.bms = cfg->bms,
		.link_type = cfg->link_type,
		.snap_len = cfg->snap_len,
		.first_lap = cfg->first_lap,
	};

	return ffpf_lane_create(&hook->lane, &lane, err);
}

int
ffpf_hook_create(struct ffpf_hook **out, const struct ffpf_hook_config *cfg, struct ffpf_error *err)
{
	struct ffpf_hook *hook;
	struct ffpf_graph *graph;
	int rc = check_config(cfg, err);

	if (rc)
		return rc;
	hook = calloc(1, sizeof(*hook));
	if (!hook)
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a hook");
	hook->bms = ffpf_bms_find(cfg->bms);
	hook->vlan_offset = cfg->vlan_offset;
	hook->cooked = cfg->cooked ? COOKED_BYTES : 0;
	hook->publish_batch = cfg->publish_batch;
	hook->last_ns = INT64_MIN;
	hook->floor_ns = FFPF_FLOOR_IDLE;
	rc = create_lane(hook, cfg, err);
	if (rc) {
		free(hook);
		return rc;
	}
	graph = ffpf_graph_create(0);
	if (!graph) {
		ffpf_lane_destroy(hook->lane);
		free(hook);
		return ffpf_error_set(err, FFPF_E_NO_MEMORY, "no memory for a graph");
	}
	atomic_init(&hook->graph, graph);
	pthread_mutex_init(&hook->control, NULL);
	*out = hook;
	return 0;
}

void
ffpf_hook_set_snap_len(struct ffpf_hook *hook, uint32_t snap_len)
{
	atomic_store_explicit(&hook->lane->snap_len, snap_len, memory_order_relaxed);
}

void
ffpf_hook_destroy(struct ffpf_hook *hook)
{
	if (!hook)
		return;
	ffpf_graph_destroy(atomic_load_explicit(&hook->graph, memory_order_relaxed)); /* no writer any more */
	ffpf_graph_destroy(hook->spare);
	free(hook->members);
	ffpf_lane_destroy(hook->lane);
	pthread_mutex_destroy(&hook->control);
	free(hook);
}

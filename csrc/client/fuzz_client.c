/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of a daemon that may say anything: `fuzz_client` (libFuzzer). The first octet of the input is the number of
 * descriptors that came with the message, the rest its octets. Whatever is taken must be within its ranges.
 */
#include "client/message.h"
#include "common/fuzzing.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void
check_text(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	MUST(len < size);
	for (size_t i = 0; i < len; i++)
		MUST((uint8_t)text[i] >= 0x20 && text[i] != 0x7f);
}

static void
check_tree(const struct ffpf_json *json, size_t size)
{
	for (uint32_t i = 0; i < json->count; i++) {
		const struct ffpf_json_token *token = &json->tokens[i];
		char text[64];
		uint64_t n;

		MUST(token->begin <= token->end && token->end <= size);
		MUST(token->next > i && token->next <= json->count);
		for (uint32_t at = ffpf_json_first(json, i); at != FFPF_JSON_NONE; at = ffpf_json_after(json, i, at))
			MUST(at > i && at < token->next);
		ffpf_json_uint(json, i, UINT64_MAX, &n);
		ffpf_json_string(json, i, text, sizeof(text));
		ffpf_json_member(json, i, "flow");
		MUST(strnlen(text, sizeof(text)) < sizeof(text));
	}
}

static void
check_message(const struct ffpf_message *m, uint32_t fds)
{
	struct ffpf_opened opened;
	struct ffpf_placed placed;
	struct ffpf_event event;

	MUST(m->fd_count == fds && m->fd_count <= FFPF_MESSAGE_FDS_MAX && m->id <= FFPF_MESSAGE_ID_MAX);
	check_text(m->text, sizeof(m->text));
	for (uint32_t i = 0; i < m->fd_count; i++)
		MUST(m->fds[i].kind <= FFPF_DESCRIPTOR_IBUF && m->fds[i].lane < FFPF_FLOW_LANES_MAX);
	if (ffpf_message_opened(&opened, m, NULL) == 0)
		MUST(opened.lanes >= 1 && opened.lanes <= FFPF_FLOW_LANES_MAX && opened.link_type <= UINT16_MAX &&
		     opened.ifindex <= INT32_MAX);
	if (ffpf_message_placed(&placed, m, NULL) == 0)
		check_text(placed.reason, sizeof(placed.reason));
	if (ffpf_message_event(&event, m, NULL) == 0)
		check_text(event.reason, sizeof(event.reason));
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static struct ffpf_message message;
	char *octets;

	if (size == 0)
		return 0;
	octets = malloc(size); /* of its exact size: a step behind it is seen */
	MUST(octets);
	memcpy(octets, input + 1, size - 1);
	if (ffpf_message_read(&message, octets, size - 1, input[0], NULL) == 0) {
		check_tree(&message.json, size - 1);
		check_message(&message, input[0]);
	}
	free(octets);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Targets by id and in lists, from the current view.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/grpc/private.h"
#include "lib/xregistry/store.h"

#define PAGE_SIZE      100u
#define PAGE_SIZE_MAX  1000u
#define PAGE_BYTES_MAX (2u << 20) /* clients take 4 MiB unless told otherwise */

void xreg__grpc_get_target(struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const pb_get_target_request *request = (const void *)message;
	struct xreg_grpc *grpc = arg;
	pb_get_target_response response = PB_INIT(GET_TARGET_RESPONSE);
	struct xreg_health_config health;
	struct xreg_view *view;
	const struct xreg_target *target = xreg__grpc_find(grpc, call, request->target_id, &view);

	if (target == NULL) {
		return;
	}
	xreg__grpc_health_config(grpc, &health);
	response.target = xreg__pb_target(target, &health);
	if (response.target == NULL) {
		xreg__grpc_fail_memory(call);
	} else {
		xrpc_grpc_answer(call, &response.base);
	}
	free(response.target);
	xreg_view_unref(view);
}

/* ---- lists ---- */

/* A page that is being filled. */
struct page {
	struct xreg__pb_filter filter;
	const struct xreg_health_config *health;
	const char *after; /* the last id of the page before */
	uint32_t size_max;
	size_t size_bytes;
	pb_target **targets;
	const char *last_id;
	bool is_full, has_no_memory;
	pb_list_targets_response response;
};

static void add_to_page(struct page *page, const struct xreg_target *target)
{
	pb_target *message = xreg__pb_target(target, page->health);

	if (message == NULL) {
		page->has_no_memory = true;
		return;
	}
	page->size_bytes += protobuf_c_message_get_packed_size(&message->base) + 8;
	page->is_full = page->response.n_targets == page->size_max ||
			(page->size_bytes > PAGE_BYTES_MAX && page->response.n_targets != 0);
	if (page->is_full) {
		page->response.next_page_token = xreg__pb_text(page->last_id);
		free(message);
		return;
	}
	page->targets[page->response.n_targets++] = message;
	page->last_id = target->origin.id;
}

static bool on_listed(void *arg, const struct xreg_target *target)
{
	struct page *page = arg;

	if (!xreg__pb_matches(&page->filter, target)) {
		return true;
	}
	page->response.total_count++;
	page->response.healthy_count +=
		target->status.state == XREG_AVAILABLE || target->status.state == XREG_BUSY;
	if (!page->is_full && strcmp(target->origin.id, page->after) > 0) {
		add_to_page(page, target);
	}
	return !page->has_no_memory;
}

/* By an index in which the targets of a key are in the order of their ids. */
static void walk(const struct xreg_view *view, struct page *page)
{
	const struct xreg__pb_filter *filter = &page->filter;
	const struct {
		const char *key;
		enum xreg_index index;
	} ways[] = {
		{filter->nqn, XREG_BY_NQN},
		{filter->node_id, XREG_BY_NODE},
		{filter->address, XREG_BY_ADDRESS},
		{filter->tag, XREG_BY_TAG},
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (ways[i].key[0] != '\0') {
			xreg_view_each(view, ways[i].index, ways[i].key, false, on_listed, page);
			return;
		}
	}
	xreg_view_each(view, XREG_BY_ID, "", true, on_listed, page);
}

void xreg__grpc_list_targets(
	struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const pb_list_targets_request *request = (const void *)message;
	struct xreg_grpc *grpc = arg;
	struct xreg_health_config health;
	struct page page = {.filter = {request->node_id, request->nqn, request->address,
				    request->location, request->tag, request->n_statuses,
				    request->n_transports, request->statuses, request->transports},
		.health = &health,
		.after = request->page_token,
		.size_max = request->page_size != 0 ? request->page_size : PAGE_SIZE,
		.response = PB_INIT(LIST_TARGETS_RESPONSE)};
	struct xreg_view *view;

	if (page.size_max > PAGE_SIZE_MAX) {
		page.size_max = PAGE_SIZE_MAX;
	}
	page.targets = calloc(page.size_max, sizeof(pb_target *));
	if (page.targets == NULL) {
		xreg__grpc_fail_memory(call);
		return;
	}
	xreg__grpc_health_config(grpc, &health);
	view = xreg_store_view(grpc->opts.store);
	walk(view, &page);
	page.response.targets = page.targets;
	page.response.revision = xreg_view_revision(view);
	if (page.has_no_memory) {
		xreg__grpc_fail_memory(call);
	} else {
		xrpc_grpc_answer(call, &page.response.base);
	}
	for (size_t i = 0; i < page.response.n_targets; i++) {
		free(page.targets[i]);
	}
	free(page.targets);
	xreg_view_unref(view);
}

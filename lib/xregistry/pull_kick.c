/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kick-starts: a discovery controller says where it listens and asks to be read. It is put on the
 * list of those that are known, as long as there is room for it and for what it has, and the thread
 * is told to read it at once. Nobody proves who asks, so one that has never been read leaves the
 * list after some attempts (pull.c).
 */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/xregistry/pull_private.h"

#define NR_RECORDS_MAX 16u

static enum xnvmf_kick_result read_record(
	const struct xnvmf_kick_record *record, struct xreg_ddc *ret_ddc)
{
	struct sockaddr_storage addr;
	char *end = NULL;
	unsigned long port;

	if (record->trtype != NVME_TRTYPE_TCP) {
		return XNVMF_KICK_TRTYPE;
	}
	if (record->adrfam != NVME_ADRFAM_IPV4 && record->adrfam != NVME_ADRFAM_IPV6) {
		return XNVMF_KICK_ADRFAM;
	}
	if (xr_address_parse(record->address, 0, &addr) < 0 ||
		(addr.ss_family == AF_INET6) != (record->adrfam == NVME_ADRFAM_IPV6)) {
		return XNVMF_KICK_ADRFAM_MISMATCH;
	}
	port = strtoul(record->trsvcid, &end, 10);
	if (!isdigit((unsigned char)record->trsvcid[0]) || *end != '\0' || port == 0 ||
		port > UINT16_MAX) {
		return XNVMF_KICK_TRSVCID;
	}
	return xreg_ddc_make(record->address, (uint32_t)port, NULL, ret_ddc, NULL) == 0
		       ? XNVMF_KICK_TAKEN
		       : XNVMF_KICK_NO_INFORMATION;
}

/* Whether there is room for what it is going to register. */
static bool has_room(struct xreg_pull *pull, uint32_t nr_entries)
{
	struct xreg_view *view = xreg_store_view(pull->opts.store);
	uint32_t count = xreg_view_count(view), max = pull->opts.nr_targets_max, nr_entries_max;

	xreg_view_unref(view);
	pthread_mutex_lock(&pull->mutex);
	nr_entries_max = pull->limits.nr_entries_max;
	pthread_mutex_unlock(&pull->mutex);
	return nr_entries <= nr_entries_max && count < max && nr_entries <= max - count;
}

/* Those that are to be read at once; when there is no room they are read a little later. */
static void note(struct xreg_pull *pull, const struct xreg_ddc *ddc)
{
	pthread_mutex_lock(&pull->mutex);
	if (pull->nr_kicks < PULL_NR_KICKS) {
		pull->kicks[pull->nr_kicks++] = *ddc;
	}
	pthread_mutex_unlock(&pull->mutex);
}

enum xnvmf_kick_result xreg_pull_kick_start(
	struct xreg_pull *pull, const struct xnvmf_kick_start *kick)
{
	enum xnvmf_kick_result result = XNVMF_KICK_TAKEN;
	struct xreg_ddc ddcs[NR_RECORDS_MAX];

	if (kick->nr_records == 0) {
		return XNVMF_KICK_NO_INFORMATION;
	}
	if (kick->nr_records > NR_RECORDS_MAX || !has_room(pull, kick->nr_entries)) {
		return XNVMF_KICK_FULL;
	}
	for (uint32_t i = 0; i < kick->nr_records && result == XNVMF_KICK_TAKEN; i++) {
		result = read_record(&kick->records[i], &ddcs[i]);
	}
	for (uint32_t i = 0; i < kick->nr_records && result == XNVMF_KICK_TAKEN; i++) {
		struct xu_error err = {0};

		if (xreg_ddcs_add(pull->opts.ddcs, XREG_DDC_KICK, &ddcs[i], &err) == 0) {
			note(pull, &ddcs[i]);
		} else {
			xu_warn(pull->opts.log, "a kick-start from %s is refused: %s",
				kick->address, err.text);
			result = err.code == -ENOSPC ? XNVMF_KICK_FULL : XNVMF_KICK_NO_INFORMATION;
		}
	}
	if (result == XNVMF_KICK_TAKEN) {
		xu_info(pull->opts.log, "kick-start from %s: %u places to read, %u entries",
			kick->address, kick->nr_records, kick->nr_entries);
		pull__wake(pull);
	}
	return result;
}

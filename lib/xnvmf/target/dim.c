/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Discovery Information Management (Base 5.3): hosts and discovery controllers tell a central
 * discovery controller of themselves. The request is checked and parsed as a whole before anything
 * of it is handed on: lengths first, none of which is believed beyond the data that has come, then
 * the entity, then each entry. What is built from it is no larger than the data. A malformed
 * request is an invalid field; one whose content cannot be is invalid discovery information.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/xnvmf/target/private.h"

#define ENTRIES_MAX 1024u
#define ENTRY_BYTES ((uint32_t)sizeof(struct nvme_discovery_entry))
#define EXT_BYTES   (ENTRY_BYTES + (uint32_t)sizeof(struct nvme_discovery_extension))

/* ---- texts ---- */

/* Copies a field that ends with NULs or spaces; false: it is not printable ASCII, or does not fit.
 */
static bool take_text(char *to, size_t size, const char *field, size_t field_bytes)
{
	size_t len = strnlen(field, field_bytes);

	while (len != 0 && field[len - 1] == ' ') {
		len--;
	}
	if (len >= size) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (field[i] < ' ' || field[i] > '~') {
			return false;
		}
	}
	memcpy(to, field, len);
	to[len] = '\0';
	return true;
}

/* A name without spaces, as every NQN is; it need not have the form of one. */
static bool take_nqn(char to[XNVMF_NQN_MAX + 1], const char field[NVME_NQN_FIELD])
{
	return take_text(to, XNVMF_NQN_MAX + 1, field, NVME_NQN_FIELD) && to[0] != '\0' &&
	       strchr(to, ' ') == NULL;
}

static bool is_zero(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++) {
		if (at[i] != 0) {
			return false;
		}
	}
	return true;
}

/* ---- the head ---- */

static uint16_t check_head(const struct nvme_dim_data *data, uint32_t data_len, uint32_t task)
{
	if (data_len < sizeof(*data) || data->tdl < sizeof(*data) || data->tdl > data_len ||
		task > NVME_DIM_UPDATE) {
		return NVME_SC_INVALID_FIELD;
	}
	if (data->nument == 0 || data->nument > (data->tdl - sizeof(*data)) / ENTRY_BYTES ||
		(task == NVME_DIM_UPDATE && data->nument != 2)) {
		return NVME_SC_INVALID_FIELD;
	}
	if (data->nument > ENTRIES_MAX) {
		return NVME_SC_DISCOVERY_FULL;
	}
	if ((data->entfmt != NVME_DIM_FORMAT_BASIC && data->entfmt != NVME_DIM_FORMAT_EXTEND) ||
		data->etype < NVME_DIM_ENTITY_HOST || data->etype > NVME_DIM_ENTITY_CENTRAL) {
		return NVME_SC_INVALID_FIELD;
	}
	if ((data->ektype != NVME_DIM_KEY_ADDRESS && data->ektype != NVME_DIM_KEY_PORT) ||
		(data->etype == NVME_DIM_ENTITY_HOST && data->ektype != NVME_DIM_KEY_ADDRESS)) {
		return NVME_SC_INVALID_FIELD;
	}
	if (data->portlcl > 1 || (data->portlcl != 0 && data->etype != NVME_DIM_ENTITY_DIRECT)) {
		return NVME_SC_INVALID_FIELD;
	}
	return 0;
}

static uint16_t take_head(
	struct xnvmf_dim *dim, const struct nvme_dim_data *data, const struct xnvmf_req *req)
{
	const struct xnvmf_ctrl *ctrl = req->qpair->ctrl;

	dim->task = req->cmd.cdw10 & 0xfu;
	dim->entity = data->etype;
	dim->is_port_local = data->portlcl != 0;
	dim->is_key_port = data->ektype == NVME_DIM_KEY_PORT;
	strcpy(dim->hostnqn, ctrl->hostnqn);
	strcpy(dim->address, ctrl->sight.address);
	return take_nqn(dim->eid, data->eid) &&
			       take_text(dim->ename, sizeof(dim->ename), data->ename,
				       sizeof(data->ename)) &&
			       take_text(
				       dim->ever, sizeof(dim->ever), data->ever, sizeof(data->ever))
		       ? 0
		       : NVME_SC_DISCOVERY_INFO;
}

/* ---- entries ---- */

static uint16_t take_attribute(struct xnvmf_dim_entry *entry,
	const struct nvme_discovery_attribute *attribute, const uint8_t *value)
{
	switch (attribute->type) {
	case NVME_EXAT_HOST_ID:
		if (attribute->len != sizeof(entry->hostid)) {
			return NVME_SC_INVALID_FIELD;
		}
		entry->has_hostid = true;
		memcpy(entry->hostid, value, sizeof(entry->hostid));
		return 0;
	case NVME_EXAT_LABEL_ASCII:
	case NVME_EXAT_LABEL_UTF8:
		if (attribute->len > NVME_EXAT_LABEL_BYTES) {
			return NVME_SC_INVALID_FIELD;
		}
		/* A label that cannot be shown is none. */
		if (!take_text(entry->label, sizeof(entry->label), (const char *)value,
			    attribute->len)) {
			entry->label[0] = '\0';
		}
		return 0;
	default:
		return 0;
	}
}

/* The attributes behind an entry of `left` bytes at most; its length goes to *ret_bytes. */
static uint16_t take_attributes(
	struct xnvmf_dim_entry *entry, const uint8_t *at, uint32_t left, uint32_t *ret_bytes)
{
	struct nvme_discovery_extension extension;
	struct nvme_discovery_attribute attribute;
	uint32_t offset = EXT_BYTES;

	if (left < EXT_BYTES) {
		return NVME_SC_INVALID_FIELD;
	}
	memcpy(&extension, at + ENTRY_BYTES, sizeof(extension));
	if (extension.tel < EXT_BYTES || extension.tel > left || extension.tel % 4 != 0) {
		return NVME_SC_INVALID_FIELD;
	}
	for (uint32_t i = 0; i < extension.numexat; i++) {
		uint16_t status;

		if (extension.tel - offset < sizeof(attribute)) {
			return NVME_SC_INVALID_FIELD;
		}
		memcpy(&attribute, at + offset, sizeof(attribute));
		offset += (uint32_t)sizeof(attribute);
		if (attribute.len == 0 || attribute.len % 4 != 0 ||
			attribute.len > extension.tel - offset) {
			return NVME_SC_INVALID_FIELD;
		}
		status = take_attribute(entry, &attribute, at + offset);
		if (status != 0) {
			return status;
		}
		offset += attribute.len;
	}
	*ret_bytes = extension.tel;
	return 0;
}

/* What only subsystems have must not be set for a host (Base, figure of the entries' fields). */
static bool is_host_entry(const struct nvme_discovery_entry *wire)
{
	return wire->subtype == 0 && wire->treq == 0 && wire->portid == 0 && wire->cntlid == 0 &&
	       wire->asqsz == 0 && wire->eflags == 0 &&
	       is_zero(wire->trsvcid, sizeof(wire->trsvcid));
}

static bool is_ip(const struct xnvmf_dim_entry *entry)
{
	struct sockaddr_storage addr;
	bool is_v6 = strchr(entry->address, ':') != NULL;

	return entry->adrfam == (is_v6 ? NVME_ADRFAM_IPV6 : NVME_ADRFAM_IPV4) &&
	       xr_address_parse(entry->address, 0, &addr) > 0 &&
	       !xr_address_is_wildcard(entry->address);
}

static bool is_port(const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && number > 0 && number <= 65535;
}

static bool is_reachable(const struct xnvmf_dim *dim, const struct xnvmf_dim_entry *entry)
{
	switch (entry->trtype) {
	case NVME_TRTYPE_TCP:
	case NVME_TRTYPE_RDMA:
		return is_ip(entry) &&
		       (dim->entity == NVME_DIM_ENTITY_HOST || is_port(entry->trsvcid));
	case NVME_TRTYPE_FC:
		return entry->adrfam == NVME_ADRFAM_FC && entry->address[0] != '\0';
	default:
		return false;
	}
}

/* Who leaves its address to us has that of its connection; one entry may. */
static bool take_address(struct xnvmf_dim *dim, struct xnvmf_dim_entry *entry,
	const struct nvme_discovery_entry *wire, bool *is_peer_taken)
{
	if (!take_text(
		    entry->address, sizeof(entry->address), wire->traddr, sizeof(wire->traddr))) {
		return false;
	}
	if (entry->address[0] != '\0') {
		return true;
	}
	if (wire->traddr[0] != '\0' || *is_peer_taken) {
		return false;
	}
	*is_peer_taken = true;
	strcpy(entry->address, dim->address);
	return true;
}

static uint16_t take_entry(struct xnvmf_dim *dim, struct xnvmf_dim_entry *entry,
	const struct nvme_discovery_entry *wire, bool *is_peer_taken)
{
	bool is_host = dim->entity == NVME_DIM_ENTITY_HOST;
	bool is_key = dim->task == NVME_DIM_DEREGISTER ||
		      (dim->task == NVME_DIM_UPDATE && entry == &dim->entries[0]);

	entry->trtype = wire->trtype;
	entry->adrfam = wire->adrfam;
	entry->subtype = wire->subtype;
	entry->treq = wire->treq;
	entry->portid = wire->portid;
	entry->cntlid = wire->cntlid;
	entry->asqsz = wire->asqsz;
	entry->security = wire->tsas[0];
	if (!take_nqn(entry->nqn, wire->subnqn) ||
		!take_text(entry->trsvcid, sizeof(entry->trsvcid), wire->trsvcid,
			sizeof(wire->trsvcid)) ||
		!take_address(dim, entry, wire, is_peer_taken)) {
		return NVME_SC_DISCOVERY_INFO;
	}
	if (is_host && !is_key && (!entry->has_hostid || !is_host_entry(wire))) {
		return NVME_SC_DISCOVERY_INFO;
	}
	/* Known by its port, it is looked for, wherever it says it is. */
	return (is_key && dim->is_key_port) || is_reachable(dim, entry) ? 0
									: NVME_SC_DISCOVERY_INFO;
}

static uint16_t take_entries(struct xnvmf_dim *dim, const uint8_t *data, uint32_t tdl, bool is_ext)
{
	uint32_t offset = sizeof(struct nvme_dim_data), bytes = ENTRY_BYTES;
	bool is_peer_taken = false;
	uint16_t status = 0;

	for (uint32_t i = 0; i < dim->nr_entries && status == 0; i++, offset += bytes) {
		struct xnvmf_dim_entry *entry = &dim->entries[i];
		struct nvme_discovery_entry wire;

		if (tdl - offset < ENTRY_BYTES) {
			return NVME_SC_INVALID_FIELD;
		}
		memcpy(&wire, data + offset, sizeof(wire));
		if (is_ext) {
			status = take_attributes(entry, data + offset, tdl - offset, &bytes);
		}
		if (status == 0) {
			status = take_entry(dim, entry, &wire, &is_peer_taken);
		}
	}
	return status;
}

/* ---- the command ---- */

void xnvmf__dim(struct xnvmf_req *req)
{
	struct xnvmf_target *target = req->qpair->target;
	const struct nvme_dim_data *data = req->buf;
	uint16_t status = check_head(data, req->data_len, req->cmd.cdw10 & 0xfu);
	struct xnvmf_dim *dim;

	if (status != 0) {
		xnvmf__req_complete(req, status);
		return;
	}
	dim = calloc(1, sizeof(*dim) + data->nument * sizeof(dim->entries[0]));
	if (dim == NULL) {
		xnvmf__req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	dim->req = req;
	dim->nr_entries = (uint32_t)data->nument;
	status = take_head(dim, data, req);
	if (status == 0) {
		status = take_entries(
			dim, req->buf, data->tdl, data->entfmt == NVME_DIM_FORMAT_EXTEND);
	}
	if (status != 0) {
		xnvmf_dim_done(dim, status);
		return;
	}
	target->discovery_ops->dim(target->discovery_arg, dim);
}

void xnvmf_dim_done(struct xnvmf_dim *dim, uint16_t status)
{
	struct xnvmf_req *req = dim->req;

	free(dim);
	xnvmf__req_complete(req, status);
}

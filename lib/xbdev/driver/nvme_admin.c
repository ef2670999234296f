/* SPDX-License-Identifier: BSD-3-Clause */
/* Admin commands by ioctl on the controller's character device: Identify and the SMART log. Rare,
 * and from workers. */
#include "lib/xbdev/driver/nvme_admin.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/util/error.h"

#define LBADS_MIN 9u
#define LBADS_MAX 16u

static int open_controller(const char *path, struct xu_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 ? fd : xu_error_set_errno(err, -errno, "opening %s", path);
}

static int run(int fd, const char *path, const char *what, struct nvme_admin_cmd *cmd,
	struct xu_error *err)
{
	int rc = ioctl(fd, NVME_IOCTL_ADMIN_CMD, cmd);

	if (rc < 0) {
		return xu_error_set_errno(err, -errno, "%s of %s", what, path);
	}
	if (rc > 0) {
		return xu_error_set(err, xbdev__nvme_errno((uint32_t)rc),
			"%s of %s: the controller answers with NVMe status %xh", what, path, rc);
	}
	return 0;
}

static int identify(
	int fd, const char *path, uint32_t cns, uint32_t nsid, void *data, struct xu_error *err)
{
	struct nvme_admin_cmd cmd = {
		.opcode = NVME_ADMIN_IDENTIFY,
		.nsid = nsid,
		.addr = (uintptr_t)data,
		.data_len = sizeof(struct nvme_id_ns),
		.cdw10 = cns,
	};

	return run(fd, path, "Identify", &cmd, err);
}

static int fill_features(const char *path, const struct nvme_id_ctrl *ctrl,
	const struct nvme_id_ns *ns, struct xbdev__nvme_features *features, struct xu_error *err)
{
	/* Formats beyond the 16th have the upper bits of their number elsewhere. */
	uint32_t index = (ns->flbas & 0xfu) | (ns->nlbaf > 15 ? (ns->flbas >> 1) & 0x30u : 0);
	const struct nvme_lbaf *lbaf = &ns->lbaf[index];
	uint32_t atomic_blocks = le16toh(ctrl->awupf) + 1u;

	if (lbaf->lbads < LBADS_MIN || lbaf->lbads > LBADS_MAX) {
		return xu_error_set(err, -EINVAL,
			"the namespace of %s has blocks of 2^%u bytes, or does not exist", path,
			lbaf->lbads);
	}
	if ((ns->nsfeat & NVME_NSFEAT_ATOMS) != 0) {
		atomic_blocks = le16toh(ns->nawupf) + 1u;
	}
	*features = (struct xbdev__nvme_features){
		.block_size = 1u << lbaf->lbads,
		.metadata_bytes = le16toh(lbaf->ms),
		.atomic_bytes = atomic_blocks << lbaf->lbads,
		.has_cache = (ctrl->vwc & 1) != 0,
		.has_compare = (le16toh(ctrl->oncs) & NVME_ONCS_COMPARE) != 0,
		.has_dsm = (le16toh(ctrl->oncs) & NVME_ONCS_DSM) != 0,
		.has_zeroes = (le16toh(ctrl->oncs) & NVME_ONCS_ZEROES) != 0,
		.has_deac = (ns->dlfeat & NVME_DLFEAT_DEAC) != 0,
		.is_write_protected = (ns->nsattr & NVME_NSATTR_WP) != 0,
	};
	return 0;
}

int xbdev__nvme_features_get(const char *path, uint32_t nsid,
	struct xbdev__nvme_features *ret_features, struct xu_error *err)
{
	struct nvme_id_ctrl *ctrl = calloc(1, sizeof(*ctrl));
	struct nvme_id_ns *ns = calloc(1, sizeof(*ns));
	int fd = -1, rc;

	if (ctrl == NULL || ns == NULL) {
		rc = xu_error_set_errno(err, -ENOMEM, "identifying %s", path);
		goto out;
	}
	fd = open_controller(path, err);
	rc = fd < 0 ? fd : identify(fd, path, NVME_CNS_CONTROLLER, 0, ctrl, err);
	if (rc == 0) {
		rc = identify(fd, path, NVME_CNS_NAMESPACE, nsid, ns, err);
	}
	if (rc == 0) {
		rc = fill_features(path, ctrl, ns, ret_features, err);
	}
out:
	if (fd >= 0) {
		close(fd);
	}
	free(ctrl);
	free(ns);
	return rc;
}

int xbdev__nvme_smart_log_get(
	const char *path, struct nvme_smart_log *ret_log, struct xu_error *err)
{
	struct nvme_admin_cmd cmd = {
		.opcode = NVME_ADMIN_GET_LOG,
		.nsid = NVME_NSID_ALL,
		.addr = (uintptr_t)ret_log,
		.data_len = sizeof(*ret_log),
		.cdw10 = NVME_LOG_SMART | (sizeof(*ret_log) / 4 - 1) << 16,
	};
	int fd = open_controller(path, err), rc;

	if (fd < 0) {
		return fd;
	}
	rc = run(fd, path, "SMART log", &cmd, err);
	close(fd);
	return rc;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The one table from NVMe status to -errno and to whether a command is worth another try. What is
 * not in it is -EIO, once. */
#include <errno.h>

#include "lib/xbdev/driver/nvme_wire.h"

static const struct {
	uint16_t code; /* type and code */
	int16_t error;
	bool is_retryable;
} statuses[] = {
	{0x001, -EOPNOTSUPP, false}, /* Invalid Command Opcode */
	{0x002, -EINVAL, false},     /* Invalid Field */
	{0x005, -EIO, true},         /* Commands Aborted due to Power Loss Notification */
	{0x006, -EIO, true},         /* Internal Error */
	{0x007, -ETIMEDOUT, true},   /* Command Abort Requested: the kernel's timeout */
	{0x008, -EIO, true},         /* Command Aborted due to SQ Deletion: a reset */
	{0x00b, -ENODEV, false},     /* Invalid Namespace or Format */
	{0x01d, -EBUSY, false},      /* Sanitize In Progress */
	{0x020, -EROFS, false},      /* Namespace is Write Protected */
	{0x021, -EIO, true},         /* Command Interrupted */
	{0x022, -EIO, true},         /* Transient Transport Error */
	{0x080, -EIO, false},        /* LBA Out of Range: the namespace has shrunk */
	{0x081, -ENOSPC, false},     /* Capacity Exceeded */
	{0x082, -EIO, true},         /* Namespace Not Ready */
	{0x083, -EBUSY, false},      /* Reservation Conflict */
	{0x084, -EBUSY, false},      /* Format In Progress */
	{0x182, -EROFS, false},      /* Attempted Write to Read Only Range */
	{0x280, -EIO, false},        /* Write Fault */
	{0x281, -EIO, false},        /* Unrecovered Read Error */
	{0x282, -EILSEQ, false},     /* End-to-end Guard Check Error */
	{0x283, -EILSEQ, false},     /* End-to-end Application Tag Check Error */
	{0x284, -EILSEQ, false},     /* End-to-end Reference Tag Check Error */
	{0x285, -EBADE, false},      /* Compare Failure */
	{0x286, -EACCES, false},     /* Access Denied */
	{0x287, -EIO, false},        /* Deallocated or Unwritten Logical Block */
	{0x300, -EIO, true},         /* Internal Path Error */
	{0x303, -EIO, true},         /* Asymmetric Access Transition */
	{0x360, -EIO, true},         /* Controller Pathing Error */
	{0x370, -EIO, true},         /* Host Pathing Error: the kernel's, during a reset */
	{0x371, -EIO, true},         /* Command Aborted By Host: the same */
};

#define NR_STATUSES (sizeof(statuses) / sizeof(statuses[0]))

int xbdev__nvme_errno(uint32_t status)
{
	for (size_t i = 0; i < NR_STATUSES; i++) {
		if (statuses[i].code == NVME_STATUS_CODE(status)) {
			return statuses[i].error;
		}
	}
	return -EIO;
}

bool xbdev__nvme_is_retryable(uint32_t status)
{
	for (size_t i = 0; i < NR_STATUSES && (status & NVME_STATUS_DNR) == 0; i++) {
		if (statuses[i].code == NVME_STATUS_CODE(status)) {
			return statuses[i].is_retryable;
		}
	}
	return false;
}

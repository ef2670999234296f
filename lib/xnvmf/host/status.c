/* SPDX-License-Identifier: BSD-3-Clause */
/* What the statuses of NVMe mean for an I/O (Base 4.2.3, NVM Command Set 3.1): one table. */
#include <errno.h>
#include <stdio.h>

#include "lib/xnvmf/host/private.h"

static const struct {
	uint8_t sct, sc;
	int error;
	enum host_verdict verdict; /* when Do Not Retry is clear */
} table[] = {
	{0, 0x01, -EOPNOTSUPP, HOST_VERDICT_END}, /* invalid opcode */
	{0, 0x02, -EINVAL, HOST_VERDICT_END},     /* invalid field */
	{0, 0x04, -EIO, HOST_VERDICT_RETRY},      /* data transfer error */
	{0, 0x05, -EIO, HOST_VERDICT_RETRY},      /* aborted: power loss */
	{0, 0x06, -EIO, HOST_VERDICT_RETRY},      /* internal error */
	{0, 0x07, -EIO, HOST_VERDICT_RETRY},      /* aborted by request */
	{0, 0x08, -EIO, HOST_VERDICT_RETRY},      /* aborted: queue deleted */
	{0, 0x0b, -ENODEV, HOST_VERDICT_END},     /* invalid namespace */
	{0, 0x0f, -EINVAL, HOST_VERDICT_END},     /* SGL length */
	{0, 0x11, -EINVAL, HOST_VERDICT_END},     /* SGL type */
	{0, 0x16, -EINVAL, HOST_VERDICT_END},     /* SGL offset */
	{0, 0x20, -EROFS, HOST_VERDICT_END},      /* namespace write protected */
	{0, 0x21, -EIO, HOST_VERDICT_RETRY},      /* interrupted */
	{0, 0x22, -EIO, HOST_VERDICT_RETRY},      /* transient transport error */
	{0, 0x80, -EINVAL, HOST_VERDICT_END},     /* LBA out of range */
	{0, 0x81, -ENOSPC, HOST_VERDICT_END},     /* capacity exceeded */
	{0, 0x82, -EIO, HOST_VERDICT_WAIT},       /* namespace not ready */
	{0, 0x83, -EBUSY, HOST_VERDICT_END},      /* reservation conflict */
	{0, 0x84, -EIO, HOST_VERDICT_WAIT},       /* format in progress */
	{1, 0x80, -EINVAL, HOST_VERDICT_END},     /* conflicting attributes */
	{1, 0x82, -EROFS, HOST_VERDICT_END},      /* write to a read-only range */
	{2, 0x82, -EILSEQ, HOST_VERDICT_END},     /* guard check */
	{2, 0x83, -EILSEQ, HOST_VERDICT_END},     /* application tag check */
	{2, 0x84, -EILSEQ, HOST_VERDICT_END},     /* reference tag check */
	{2, 0x85, -EBADE, HOST_VERDICT_END},      /* compare failure */
};

int host_status_errno(uint16_t status, enum host_verdict *ret_verdict)
{
	uint8_t sct = NVME_STATUS_SCT(status), sc = NVME_STATUS_SC(status);
	int error = -EIO;

	/* All of path related (3) is about this moment; media errors and the rest are not. */
	*ret_verdict = sct == 3 ? HOST_VERDICT_WAIT : HOST_VERDICT_END;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].sct == sct && table[i].sc == sc) {
			error = table[i].error;
			*ret_verdict = table[i].verdict;
		}
	}
	if (status & NVME_DNR) {
		*ret_verdict = HOST_VERDICT_END;
	}
	return sct == 0 && sc == 0 ? 0 : error;
}

const char *host_status_text(uint16_t status, char text[HOST_STATUS_TEXT])
{
	snprintf(text, HOST_STATUS_TEXT, "%u/%02xh%s", NVME_STATUS_SCT(status),
		NVME_STATUS_SC(status), (status & NVME_DNR) ? " (final)" : "");
	return text;
}

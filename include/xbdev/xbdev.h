/* SPDX-License-Identifier: BSD-3-Clause */
/* libxbdev: all of its public interface. Each part has a header of its own. */
#ifndef XBDEV_XBDEV_H
#define XBDEV_XBDEV_H

#include <xbdev/aio.h>
#include <xbdev/base.h>
#include <xbdev/config.h>
#include <xbdev/health.h>
#include <xbdev/io.h>
#include <xbdev/lvol.h>
#include <xbdev/md.h>
#include <xbdev/memory.h>
#include <xbdev/mgmt.h>
#include <xbdev/nvme.h>
#include <xbdev/queue.h>
#include <xbdev/raid.h>
#include <xbdev/stats.h>
#include <xbdev/types.h>

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: the verification of a whole store that nobody uses. All that the disk
 * says is compared: who lists which cluster and page, against each other and against the masks of a
 * clean store; what cannot be read; what was interrupted.
 */
#ifndef XBDEV_LVOL_CHECK_H
#define XBDEV_LVOL_CHECK_H

#include "lib/xbdev/lvol/store.h"

enum xbdev_lvs_problem_kind {
	XBDEV_LVS_PROBLEM_UNREADABLE,  /* a volume cannot be used; `text` has the reason */
	XBDEV_LVS_PROBLEM_READ_ONLY,   /* clusters in use may be unknown */
	XBDEV_LVS_PROBLEM_INTERRUPTED, /* an operation was cut off by a crash */
	XBDEV_LVS_PROBLEM_SHARED,      /* a cluster that two list */
	XBDEV_LVS_PROBLEM_LOST,        /* clusters that the mask has and nobody lists */
	XBDEV_LVS_PROBLEM_UNMARKED,    /* a cluster in use that the mask does not have */
	XBDEV_LVS_PROBLEM_PAGES_LOST,  /* md pages in use by the mask that nobody names */
	XBDEV_LVS_PROBLEM_PAGES_UNMARKED,
	XBDEV_LVS_PROBLEM_NAME, /* two volumes of one name, or one that is too long */
};

struct xbdev_lvs_problem {
	enum xbdev_lvs_problem_kind kind;
	bool is_repairable; /* without loss, by xbdev__lvs_check_repair() */
	uint64_t count;     /* of clusters or pages, the first of which is `first` */
	uint32_t first;
	uint64_t blob_id; /* 0: of none */
	char text[256];   /* a sentence */
};

#define XBDEV_LVS_PROBLEMS_MAX 1000u

struct xbdev_lvs_report {
	struct xbdev_lvs_problem *problems;
	uint32_t nr_problems, room;
	uint32_t nr_untold; /* beyond XBDEV_LVS_PROBLEMS_MAX */
	bool was_clean;
	uint32_t nr_volumes, nr_unusable;
	uint64_t nr_used_clusters; /* listed by somebody, each once; those of the metadata too */
	uint64_t nr_used_pages;
};

/* Looks at a loaded store, before anything is changed in it. -ENOMEM. */
int xbdev__lvs_check(const struct xbdev_lvs *store, struct xbdev_lvs_report *ret_report);
void xbdev__lvs_report_fini(struct xbdev_lvs_report *report);

/*
 * Repairs what is safe, in the model: clusters and pages that nobody lists become free, those in
 * use are marked; recovery (write.h) and unloading write it. Lost ones stay as they are in a store
 * with a volume that cannot be used: they may be that volume's. Returns how many problems it has
 * dealt with; those are not is_repairable any more.
 */
uint32_t xbdev__lvs_check_repair(struct xbdev_lvs *store, struct xbdev_lvs_report *report);

#endif

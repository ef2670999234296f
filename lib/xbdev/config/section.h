/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sections of a configuration document (document.h). Each is one entry of the table in sections.c
 * and a file of its own: how its entries look, what they need, and how they are compared with what
 * there is, made, changed, taken down and written again. What holds for all of them (names,
 * references, order, undoing) is done once, above.
 */
#ifndef XBDEV_CONFIG_SECTION_H
#define XBDEV_CONFIG_SECTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/util/error.h"
#include "lib/xbdev/config/text.h"

struct xbdev_apply;
struct xbdev_ctx;
struct xbdev_document;
struct xbdev_item;
struct xbdev_job;
struct xbdev_planning;

/* What a name is the name of; each name is used once in its space. */
enum xbdev_space { XBDEV_SPACE_DEVICE, XBDEV_SPACE_STORE, XBDEV_NR_SPACES };

struct xbdev_section {
	const char *key;        /* in the document: "raid_devices" */
	const char *one;        /* for sentences: "RAID array" */
	bool is_call;           /* an entry is { "method", "params" }, else its members */
	enum xbdev_space space; /* of its entries' names */
	/* Sections of the same (not NULL, by its address) share all of their functions but check()
	 * and save(): what there is may be described by one and be wanted by another. */
	const char *kin;
	/* What it has lies in what it stands on and is found there: it goes with that, whoever made
	 * it, and does not go when a document lacks it. */
	bool is_found;

	/*
	 * Checks the shape of one entry, without looking at others or touching anything, and fills
	 * in the item by xbdev_item_set() and xbdev_item_use(). -EINVAL with a sentence and the
	 * culprit's path in the entry ("params.name"); -ENOMEM. Any bytes may come here.
	 */
	int (*check)(json_t *entry, struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE],
		struct xu_error *err);

	/* Optional: what keeps this one entry from being possible in this version; as check(). */
	int (*can)(const struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE],
		struct xu_error *err);

	/* Says what is to be done about one entry, see struct xbdev_planning; touches nothing.
	 * -errno with a sentence in planning->err, and the member in planning->key. */
	int (*plan)(struct xbdev_planning *planning);

	/*
	 * Does a job, or takes back one that was done, and ends it by xbdev_job_done(), once, maybe
	 * before it returns. A job that fails leaves nothing behind, and what waits for something
	 * outside bounds itself. Neither ever touches what it does not know to be its own: MAKE
	 * loads what is on the media, creates on blank ones only, as job->mode says; REMOVE stops
	 * something and leaves the media alone; undoing a MAKE takes away what it created if
	 * nothing has been written to it.
	 */
	void (*apply)(struct xbdev_job *job);
	void (*undo)(struct xbdev_job *job);
	/* Optional: gets the memory for a REMOVE that is final, into job->state, so that apply()
	 * does not fail for want of it. -ENOMEM. */
	int (*prepare)(struct xbdev_job *job);
	/* Optional: frees job->state, which prepare() or apply() has left. */
	void (*forget)(struct xbdev_job *job);

	/* Appends the entries that would make again what there is now. */
	int (*save)(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err);
};

static inline bool xbdev_section_is_kin(
	const struct xbdev_section *a, const struct xbdev_section *b)
{
	return a == b || (a->kin != NULL && a->kin == b->kin);
}

/* All sections, in the order in which documents are written. Ends with NULL. */
extern const struct xbdev_section *const xbdev_sections[];

extern const struct xbdev_section xbdev__section_base;
extern const struct xbdev_section xbdev__section_raid;
extern const struct xbdev_section xbdev__section_lvol_stores;
extern const struct xbdev_section xbdev__section_lvol_volumes;
extern const struct xbdev_section xbdev__section_snapshots;
extern const struct xbdev_section xbdev__section_clones;

/* ---- entries ---- */

/* Something that an entry names because it needs it. */
struct xbdev_use {
	const char *key; /* the member; static */
	ssize_t index;   /* in the member, -1: it is no list */
	enum xbdev_space space;
	bool is_exclusive;           /* a second user is refused */
	const char *kinds[2];        /* keys of the sections that it may be of; NULL: any */
	struct xbdev_item *provider; /* NULL: it is not in the document */
};

struct xbdev_item {
	const struct xbdev_section *section;
	size_t index;  /* in the section's list */
	char *name;    /* what it is called: "aio0", "lvs0/data_vol" */
	json_t *entry; /* in its one form, so that equal means the same */
	struct xbdev_use *uses;
	size_t nr_uses;
	/* The member that names something outside of the library which one entry may have only,
	 * unless all say that they share it: a file, or a disk. Static; NULL: nothing. */
	const char *resource_key;
	const char *resource_part; /* the member with the number of its part, or NULL */
	bool is_resource_shared;

	/* The document's. */
	uint32_t level;          /* above everything it uses; 0: it uses nothing of the document */
	struct xbdev_item *user; /* the exclusive one */
};

/* Names the item and gives it its entry, which is taken even on failure; NULL: out of memory. */
int xbdev_item_set(struct xbdev_item *item, const char *name, json_t *entry, struct xu_error *err);
/* After that, adds a use: of what the member `key` names, or its element `index`. */
int xbdev_item_use(struct xbdev_item *item, const char *key, ssize_t index, enum xbdev_space space,
	bool is_exclusive, struct xu_error *err);
/* The entry's members that say what it is: "params", or the entry itself. Borrowed. */
json_t *xbdev_item_members(const struct xbdev_item *item);
json_t *xbdev_section_members(const struct xbdev_section *section, const json_t *entry);
/* The name that a use has in the entry. */
const char *xbdev_use_name(const struct xbdev_item *item, const struct xbdev_use *use);

/* Checks the form of an entry { "method": TEXT, "params": {…} }; borrowed. -EINVAL. */
int xbdev_section_check_call(json_t *entry, const char **ret_method, json_t **ret_params,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err);
/* Checks a name: 1 to 255 printable ASCII characters, and no '/' if `is_part`. -EINVAL. */
int xbdev_section_check_name(const char *name, bool is_part, struct xu_error *err);

/* ---- making them ---- */

enum xbdev_config_mode {
	XBDEV_CONFIG_APPLY,  /* load what is on the media, create what is missing, change, remove */
	XBDEV_CONFIG_CREATE, /* create only */
	XBDEV_CONFIG_LOAD,   /* load only: nothing on any media is made or changed */
};

enum xbdev_action {
	XBDEV_ACTION_NONE,
	XBDEV_ACTION_MAKE,
	XBDEV_ACTION_CHANGE,
	XBDEV_ACTION_REMAKE, /* in a plan: taken down and made again */
	XBDEV_ACTION_REMOVE,
};

/*
 * What plan() is asked, about something that is to be (`wanted`), or that is and is to go
 * (`wanted` NULL: then the answer is REMOVE, or -EBUSY when somebody has it open beside the
 * `nr_users` that have it to themselves and go before it).
 */
struct xbdev_planning {
	struct xbdev_ctx *ctx;
	enum xbdev_config_mode mode;
	const struct xbdev_item *wanted;
	const struct xbdev_item *now; /* NULL: there is none */
	/* The entry by which an earlier document made it, NULL: none did. What the new document
	 * says in the same words has not been touched: what is now stays. */
	const json_t *was;
	const json_t *chosen; /* the answer to the question before, about the same thing */
	/* It is made again in place of this, whose identity it keeps where `wanted` is silent. */
	const struct xbdev_item *older;
	uint32_t nr_users;

	/* The answer. */
	enum xbdev_action action;
	json_t *to; /* MAKE, CHANGE: the entry of the job, a new reference */
	/* What nobody has said and is now, by the choice of a driver: members and their values, a
	 * new reference, or NULL. A later document that is silent about them lets them be. */
	json_t *ret_chosen;
	char key[64];  /* CHANGE, REMAKE: the member that is different, and why it cannot be
			* changed as it is; in the document's spelling */
	bool is_final; /* CHANGE, REMOVE: undoing it may not bring back what was, so it is done
			* after everything that can fail */
	struct xu_error *err;
};

/* One step. Its texts and values are its own. */
struct xbdev_job {
	struct xbdev_ctx *ctx;
	const struct xbdev_section *section;
	enum xbdev_config_mode mode;
	enum xbdev_action action; /* MAKE, CHANGE or REMOVE */
	char *name;
	json_t *from; /* what it is; NULL for MAKE */
	/* What it is to be; NULL for REMOVE. MAKE adds "uuid", if it has one, to the members. */
	json_t *to;
	void *state; /* the section's */

	/* The plan's. */
	char *path; /* in the document; "" when it is not in it */
	bool is_final;
	struct xbdev_apply *apply;
};

/* Ends what apply() or undo() began; err NULL or with code 0: it is done. */
void xbdev_job_done(struct xbdev_job *job, const struct xu_error *err);

#endif

/*
 * model -- what users wanted, and whether replicas still say so.
 *
 * A mailbox of the model is all mailboxes that ever had one GUID, or whose
 * GUIDs became one.  A slot is one message (GUID string) in one mailbox: how
 * often users saved and removed it there.
 *
 * Flags: each user's flip of a bit is a wish that overrules the wishes that
 * its replica knew.  A replica carries for each bit the wishes that its value
 * may come from (heads); a sync that was complete leaves both sides with those
 * of both that nobody overruled and that say what the bit now says.  None left
 * means that a wish was lost.  Where several saves could be meant, or power
 * took something back, the model does not follow any more (untracked): it never
 * calls something wrong that could be right.
 */
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

#define WISHES 64

struct wishes {
	unsigned n;
	uint64_t value; /* bit k: wish k sets the bit */
	uint64_t overrules[WISHES];
};

struct mail {
	const char *guid;
	unsigned saves, kills;
	bool excused; /* power took a save or an expunge of it back */
	bool restored;
	bool tracked;
	struct wishes bit[BITS];
	uint64_t heads[REPLICAS][BITS];
	bool known[REPLICAS]; /* heads are set */
	/* bits that were flipped there while the sync goes on */
	uint64_t flipped[REPLICAS];
};

struct slot {
	unsigned box, mail;
	unsigned saves, kills;
	bool restored, excused;
	/* removed there, and not yet durable */
	bool fragile[REPLICAS];
};

struct model_box {
	struct guid guid;
	unsigned root; /* merged into; itself: into none */
	bool wanted; /* a user made it, who counts */
	bool deleted; /* by a user, somewhere, once */
	bool excused; /* power took its making or deleting back */
	bool merged;
};

/* What a UID of a replica's mailbox stands for. */
struct uid {
	unsigned place, box;
	uint32_t uidvalidity, uid;
	unsigned mail;
};

struct model {
	struct arena arena;
	struct mail *mail[GUIDS];
	size_t mails;
	struct model_box box[BOXES];
	size_t boxes;
	struct slot *slot;
	size_t slots, cap_slots;
	struct uid *uid;
	size_t uids, cap_uids;
};

struct model *
model_new(void)
{
	return (calloc(1, sizeof(struct model)));
}

void
model_free(struct model *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->mails; i++)
		free(m->mail[i]);
	free(m->slot);
	free(m->uid);
	arena_fini(&m->arena);
	free(m);
}

/* ---- finding ---- */

static unsigned
mail_of(struct world *w, const char *guid)
{
	struct model *m = w->model;

	for (size_t i = 0; i < m->mails; i++)
		if (strcmp(m->mail[i]->guid, guid) == 0)
			return ((unsigned)i);
	if (m->mails == GUIDS)
		world_fail(w, "the model is full");
	m->mail[m->mails] = calloc(1, sizeof(struct mail));
	if (m->mail[m->mails] == NULL)
		world_fail(w, "no memory");
	m->mail[m->mails]->guid = arena_strdup(&m->arena, guid);
	m->mail[m->mails]->tracked = true;
	return ((unsigned)m->mails++);
}

static unsigned
root_of(const struct model *m, unsigned box)
{
	while (m->box[box].root != box)
		box = m->box[box].root;
	return (box);
}

static unsigned
box_of(struct world *w, const struct guid *g)
{
	struct model *m = w->model;

	for (size_t i = 0; i < m->boxes; i++)
		if (guid_eq(&m->box[i].guid, g))
			return (root_of(m, (unsigned)i));
	if (m->boxes == BOXES)
		world_fail(w, "the model is full");
	m->box[m->boxes] =
	    (struct model_box){ .guid = *g, .root = (unsigned)m->boxes };
	return ((unsigned)m->boxes++);
}

static struct slot *
slot_of(struct world *w, unsigned box, unsigned mail)
{
	struct model *m = w->model;

	box = root_of(m, box);
	for (size_t i = 0; i < m->slots; i++)
		if (m->slot[i].mail == mail &&
		    root_of(m, m->slot[i].box) == box)
			return (&m->slot[i]);
	if (m->slots == m->cap_slots) {
		m->cap_slots = m->cap_slots * 2 + 64;
		m->slot = reallocarray(m->slot, m->cap_slots, sizeof(*m->slot));
		if (m->slot == NULL)
			abort();
	}
	m->slot[m->slots] = (struct slot){ .box = box, .mail = mail };
	return (&m->slot[m->slots++]);
}

/* Two mailboxes turned out to be one: their slots too. */
static void
merge_boxes(struct world *w, unsigned a, unsigned b)
{
	struct model *m = w->model;

	a = root_of(m, a);
	b = root_of(m, b);
	if (a == b)
		return;
	m->box[b].root = a;
	m->box[a].merged = true;
	m->box[a].wanted |= m->box[b].wanted;
	m->box[a].deleted |= m->box[b].deleted;
	m->box[a].excused |= m->box[b].excused;
	for (size_t i = 0; i < m->slots; i++)
		for (size_t k = 0; k < i; k++)
			if (m->slot[i].mail == m->slot[k].mail &&
			    m->slot[i].saves + m->slot[i].kills != 0 &&
			    root_of(m, m->slot[i].box) == a &&
			    root_of(m, m->slot[k].box) == a) {
				m->slot[k].saves += m->slot[i].saves;
				m->slot[k].kills += m->slot[i].kills;
				m->slot[k].restored |= m->slot[i].restored;
				m->slot[k].excused |= m->slot[i].excused;
				for (int p = 0; p < REPLICAS; p++)
					m->slot[k].fragile[p] |=
					    m->slot[i].fragile[p];
				m->slot[i] = m->slot[--m->slots];
				i--;
				break;
			}
}

/* ---- looking ---- */

struct taking {
	struct world *w;
	struct snap *s;
	size_t cap_rows, cap_boxes;
	const struct box_row *box;
};

static int
take_box(void *arg, const struct mailbox *m)
{
	struct taking *t = arg;
	struct snap *s = t->s;

	if (!m->exists || !m->selectable)
		return (0);
	if (s->boxes == t->cap_boxes) {
		t->cap_boxes = t->cap_boxes * 2 + 8;
		s->box = reallocarray(s->box, t->cap_boxes, sizeof(*s->box));
		if (s->box == NULL)
			abort();
	}
	s->box[s->boxes++] = (struct box_row){ .id = m->id,
		.model_box = box_of(t->w, &m->guid),
		.name = arena_strdup(&s->arena, m->name),
		.uidvalidity = m->uidvalidity,
		.uidnext = m->uidnext,
		.highestmodseq = m->highestmodseq,
		.history_floor = m->history_floor };
	return (0);
}

static int
take_row(void *arg, uint32_t mailbox, const struct msg *m)
{
	struct taking *t = arg;
	struct snap *s = t->s;

	if (s->n == t->cap_rows) {
		t->cap_rows = t->cap_rows * 2 + 32;
		s->row = reallocarray(s->row, t->cap_rows, sizeof(*s->row));
		if (s->row == NULL)
			abort();
	}
	s->row[s->n++] = (struct row){ .box = mailbox,
		.model_box = t->box->model_box,
		.uid = m->uid,
		.guid = mail_of(t->w, m->guid),
		.bits = (uint8_t)((m->flags & MAIL_FLAGS) |
		    (keywords_has(&m->keywords, "k1") ? 0x20 : 0) |
		    (keywords_has(&m->keywords, "k2") ? 0x40 : 0)) };
	if (m->modseq > t->box->highestmodseq)
		world_fail(t->w, "%s UID %u: modseq above the highest",
		    t->box->name, m->uid);
	return (0);
}

void
snap_fini(struct snap *s)
{
	free(s->row);
	free(s->box);
	arena_fini(&s->arena);
	memset(s, 0, sizeof(*s));
}

static bool
same_uid(const struct uid *u, const struct place *p, unsigned box,
    uint32_t uidvalidity, uint32_t uid)
{
	return (u->place == p->number && u->box == box && u->uid == uid &&
	    u->uidvalidity == uidvalidity);
}

/* A UID is never given to another message. */
static void
check_uid(struct world *w, struct place *p, const struct box_row *b,
    const struct row *r)
{
	struct model *m = w->model;

	for (size_t i = 0; i < m->uids; i++)
		if (same_uid(&m->uid[i], p, b->id, b->uidvalidity, r->uid)) {
			if (m->uid[i].mail != r->guid)
				world_fail(w,
				    "%s: UID %u of %s was %s and is now %s",
				    p->label, r->uid, b->name,
				    m->mail[m->uid[i].mail]->guid,
				    m->mail[r->guid]->guid);
			return;
		}
	if (m->uids == m->cap_uids) {
		m->cap_uids = m->cap_uids * 2 + 64;
		m->uid = reallocarray(m->uid, m->cap_uids, sizeof(*m->uid));
		if (m->uid == NULL)
			abort();
	}
	m->uid[m->uids++] = (struct uid){ .place = p->number,
		.box = b->id,
		.uidvalidity = b->uidvalidity,
		.uid = r->uid,
		.mail = r->guid };
}

void
model_forget_uids(struct world *w, struct place *p)
{
	struct model *m = w->model;
	size_t kept = 0;

	for (size_t i = 0; i < m->uids; i++)
		if (m->uid[i].place != p->number)
			m->uid[kept++] = m->uid[i];
	m->uids = kept;
}

void
snap_take(struct world *w, struct place *p, struct snap *out)
{
	struct taking t = { .w = w, .s = out };
	int rc;

	memset(out, 0, sizeof(*out));
	arena_init(&out->arena);
	place_lock(p);
	rc = store_mailboxes(p->s, take_box, &t);
	for (size_t i = 0; rc == 0 && i < out->boxes; i++) {
		size_t from = out->n;

		t.box = &out->box[i];
		rc = store_msgs(p->s, out->box[i].id, 1, take_row, &t);
		for (size_t k = from; k < out->n; k++)
			check_uid(w, p, &out->box[i], &out->row[k]);
	}
	place_unlock(p);
	if (rc != 0)
		world_fail(w, "%s cannot be read", p->label);
}

static const struct row *
row_at(const struct snap *s, unsigned box_id, uint32_t uid)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->row[i].box == box_id && s->row[i].uid == uid)
			return (&s->row[i]);
	return (NULL);
}

static const struct box_row *
box_at(const struct snap *s, unsigned id)
{
	for (size_t i = 0; i < s->boxes; i++)
		if (s->box[i].id == id)
			return (&s->box[i]);
	return (NULL);
}

static const struct box_row *
box_as(const struct world *w, const struct snap *s, unsigned model_box)
{
	for (size_t i = 0; i < s->boxes; i++)
		if (root_of(w->model, s->box[i].model_box) ==
		    root_of(w->model, model_box))
			return (&s->box[i]);
	return (NULL);
}

/* The message in that mailbox, under whatever UID; *n: how often. */
static const struct row *
row_of(const struct world *w, const struct snap *s, unsigned model_box,
    unsigned mail, unsigned *n)
{
	const struct row *found = NULL;

	*n = 0;
	for (size_t i = 0; i < s->n; i++)
		if (s->row[i].guid == mail &&
		    root_of(w->model, s->row[i].model_box) ==
			root_of(w->model, model_box)) {
			found = &s->row[i];
			(*n)++;
		}
	return (found);
}

/* ---- wishes ---- */

static void
untrack(struct world *w, unsigned mail)
{
	w->model->mail[mail]->tracked = false;
}

static uint64_t
all_overruled(const struct wishes *b, uint64_t heads)
{
	uint64_t out = heads;

	for (unsigned k = 0; k < b->n; k++)
		if ((heads >> k & 1) != 0)
			out |= b->overrules[k];
	return (out);
}

static void
wish(struct world *w, struct place *p, unsigned mail, unsigned bit, bool on)
{
	struct mail *m = w->model->mail[mail];
	struct wishes *b = &m->bit[bit];
	uint64_t *heads = &m->heads[p->number][bit];

	/*
	 * There and back in one sync: the other side has the value, but maybe
	 * not from this wish, of which it is told the next time.
	 */
	if (b->n == WISHES || (m->flipped[p->number] >> bit & 1) != 0) {
		m->tracked = false;
		return;
	}
	if (w->side[0] != NULL)
		m->flipped[p->number] |= (uint64_t)1 << bit;
	b->overrules[b->n] = all_overruled(b, *heads);
	b->value |= (uint64_t)on << b->n;
	*heads = (uint64_t)1 << b->n++;
}

/* The wishes among heads that say so. */
static uint64_t
saying(const struct wishes *b, uint64_t heads, bool on)
{
	return (heads & (on ? b->value : ~b->value));
}

static uint64_t
not_overruled(const struct wishes *b, uint64_t heads)
{
	uint64_t over = 0;

	for (unsigned k = 0; k < b->n; k++)
		if ((heads >> k & 1) != 0)
			over |= b->overrules[k];
	return (heads & ~over);
}

static void
reconcile_bit(struct world *w, struct place *p, unsigned mail, unsigned bit,
    bool on, uint64_t both, bool complete)
{
	struct mail *m = w->model->mail[mail];
	struct wishes *b = &m->bit[bit];
	uint64_t *heads = &m->heads[p->number][bit];
	uint64_t can;

	if (!complete && m->known[p->number] && saying(b, *heads, on) != 0)
		return; /* as it was: maybe it has not heard of the others */
	/* Unless all was compared it may stand for what either once knew. */
	if (!complete)
		both = all_overruled(b, both);
	can = complete ? saying(b, not_overruled(b, both), on)
		       : not_overruled(b, saying(b, both, on));
	if (can == 0)
		world_fail(w,
		    "%s: %s: bit %02x is %s, which nobody wants any more",
		    p->label, m->guid, 1u << bit, on ? "set" : "clear");
	*heads = can;
}

static const struct row *
only_row(const struct snap *s, unsigned mail)
{
	const struct row *found = NULL;

	for (size_t i = 0; i < s->n; i++)
		if (s->row[i].guid == mail) {
			if (found != NULL)
				return (NULL);
			found = &s->row[i];
		}
	return (found);
}

void
model_flags(struct world *w, struct place *a, struct place *b, bool complete)
{
	struct place *side[2] = { a, b };

	for (unsigned k = 0; k < w->model->mails; k++) {
		struct mail *m = w->model->mail[k];
		const struct row *r[2] = { only_row(&a->last, k),
			only_row(&b->last, k) };

		memset(m->flipped, 0, sizeof(m->flipped));
		if (!m->tracked || (r[0] == NULL && r[1] == NULL))
			continue;
		for (unsigned bit = 0; bit < BITS; bit++) {
			uint64_t both =
			    m->heads[a->number][bit] | m->heads[b->number][bit];

			for (int s = 0; s < 2; s++)
				if (r[s] != NULL)
					reconcile_bit(w, side[s], k, bit,
					    (r[s]->bits >> bit & 1) != 0, both,
					    complete && r[!s] != NULL);
		}
		for (int s = 0; s < 2; s++)
			if (r[s] != NULL)
				m->known[side[s]->number] = true;
	}
}

/* ---- what a user did ---- */

static bool
is_sink(const struct world *w, const struct place *p)
{
	return (w->h->sink && p->number == w->h->replicas - 1);
}

static void
user_saved(struct world *w, struct place *p, const struct row *r, bool restored)
{
	struct mail *m = w->model->mail[r->guid];
	struct slot *s = slot_of(w, r->model_box, r->guid);

	s->saves++;
	s->restored |= restored;
	m->restored |= restored;
	if (m->saves++ != 0) {
		untrack(w, r->guid);
		return;
	}
	for (unsigned bit = 0; bit < BITS; bit++)
		wish(w, p, r->guid, bit, (r->bits >> bit & 1) != 0);
	m->known[p->number] = true;
}

static void
user_removed(struct world *w, struct place *p, const struct row *r)
{
	struct slot *s = slot_of(w, r->model_box, r->guid);

	s->kills++;
	s->fragile[p->number] = true;
	w->model->mail[r->guid]->kills++;
	untrack(w, r->guid);
}

static void
user_flipped(struct world *w, struct place *p, const struct row *was,
    const struct row *is)
{
	for (unsigned bit = 0; bit < BITS; bit++)
		if (((was->bits ^ is->bits) >> bit & 1) != 0 &&
		    w->model->mail[is->guid]->tracked)
			wish(w, p, is->guid, bit, (is->bits >> bit & 1) != 0);
}

void
model_user(struct world *w, struct place *p, const struct snap *before,
    const struct snap *after, bool restored)
{
	/* What happens to a backup counts for nothing: it is undone. */
	if (is_sink(w, p))
		return;
	for (size_t i = 0; i < before->boxes; i++)
		if (box_at(after, before->box[i].id) == NULL)
			w->model
			    ->box[root_of(w->model, before->box[i].model_box)]
			    .deleted = true;
	for (size_t i = 0; i < after->boxes; i++)
		if (box_at(before, after->box[i].id) == NULL)
			w->model
			    ->box[root_of(w->model, after->box[i].model_box)]
			    .wanted = true;
	for (size_t i = 0; i < before->n; i++) {
		const struct row *r = &before->row[i];

		if (row_at(after, r->box, r->uid) == NULL)
			user_removed(w, p, r);
	}
	for (size_t i = 0; i < after->n; i++) {
		const struct row *r = &after->row[i],
				 *was = row_at(before, r->box, r->uid);

		if (was == NULL)
			user_saved(w, p, r, restored);
		else
			user_flipped(w, p, was, r);
	}
}

/* ---- what a sync did ---- */

static void
check_gone(struct world *w, struct place *p, const struct row *r,
    const struct snap *after)
{
	struct model *m = w->model;
	struct slot *s = slot_of(w, r->model_box, r->guid);
	unsigned n;

	if (s->kills > 0 || s->excused || m->mail[r->guid]->excused ||
	    w->h->foreign || is_sink(w, p) ||
	    m->box[root_of(m, r->model_box)].deleted ||
	    m->box[root_of(m, r->model_box)].excused)
		return;
	(void)row_of(w, after, r->model_box, r->guid, &n);
	/* Under another UID, or one of several instances that became one. */
	if (n == 0)
		world_fail(w, "%s: a sync expunged %s, which nobody did",
		    p->label, m->mail[r->guid]->guid);
}

static void
check_come(struct world *w, struct place *p, const struct row *r)
{
	struct slot *s = slot_of(w, r->model_box, r->guid);

	if (s->saves == 0 && !s->excused && !is_sink(w, p) &&
	    !w->model->mail[r->guid]->excused &&
	    !w->model->box[root_of(w->model, r->model_box)].excused)
		world_fail(w, "%s: a sync made %s where nobody saved it",
		    p->label, w->model->mail[r->guid]->guid);
}

/*
 * With dsync's rules what the other side lacks below a common message counts as
 * expunged there, unless history here says that it never was there.
 */
static void
forgot_foreign(struct world *w, unsigned box)
{
	struct model *m = w->model;

	for (size_t i = 0; w->h->foreign && i < m->slots; i++)
		m->slot[i].excused |=
		    root_of(m, m->slot[i].box) == root_of(m, box);
}

void
model_merged(struct world *w, struct place *p, const struct snap *after)
{
	const struct snap *before = &p->last;

	for (size_t i = 0; i < before->boxes; i++) {
		const struct box_row *b = &before->box[i],
				     *now = box_at(after, b->id);

		if (now == NULL)
			continue;
		merge_boxes(w, b->model_box, now->model_box);
		/* A compaction, of what is old by a clock that may jump. */
		if (now->history_floor > b->history_floor) {
			model_forgot(w);
			forgot_foreign(w, b->model_box);
		}
	}
}

struct merging {
	struct world *w;
	const struct snap *before;
};

static int
merging_box(void *arg, const struct mailbox *m)
{
	struct merging *x = arg;
	const struct box_row *b = box_at(x->before, m->id);

	if (m->exists && m->selectable && b != NULL)
		merge_boxes(x->w, b->model_box, box_of(x->w, &m->guid));
	return (0);
}

void
model_merging(struct world *w, struct place *p)
{
	struct merging x = { w, &p->last };

	place_lock(p);
	(void)store_mailboxes(p->s, merging_box, &x);
	place_unlock(p);
}

void
model_same_names(struct world *w, const struct snap *a, const struct snap *b)
{
	for (size_t i = 0; i < a->boxes; i++)
		for (size_t k = 0; k < b->boxes; k++)
			if (strcmp(a->box[i].name, b->box[k].name) == 0)
				merge_boxes(w, a->box[i].model_box,
				    b->box[k].model_box);
}

void
model_synced(struct world *w, struct place *p, const struct snap *after)
{
	struct model *m = w->model;
	const struct snap *before = &p->last;

	for (size_t i = 0; i < before->boxes; i++) {
		const struct box_row *b = &before->box[i];
		const struct model_box *is = &m->box[root_of(m, b->model_box)];

		if (box_as(w, after, b->model_box) == NULL && !is->deleted &&
		    !is->excused && !is_sink(w, p))
			world_fail(w,
			    "%s: a sync deleted mailbox %s, which "
			    "nobody did",
			    p->label, b->name);
	}
	for (size_t i = 0; i < before->n; i++) {
		const struct row *r = &before->row[i];

		if (row_at(after, r->box, r->uid) == NULL)
			check_gone(w, p, r, after);
		/* Flags go with a mailbox; its mail may stay elsewhere. */
		if (box_at(after, r->box) == NULL)
			untrack(w, r->guid);
	}
	for (size_t i = 0; i < after->n; i++)
		if (row_at(before, after->row[i].box, after->row[i].uid) ==
		    NULL)
			check_come(w, p, &after->row[i]);
}

/* ---- kills, power, durability ---- */

static void
excuse(struct world *w, const struct row *r)
{
	slot_of(w, r->model_box, r->guid)->excused = true;
	w->model->mail[r->guid]->excused = true;
	untrack(w, r->guid);
}

void
model_in_flight(struct place *p, enum act act, const struct target *t)
{
	const struct row *r = NULL;
	bool box = act == ACT_BOX_DELETE || act == ACT_BOX_AGAIN;

	for (size_t i = 0; i < p->last.n && r == NULL; i++)
		if (p->last.row[i].box == t->box_id &&
		    (box || p->last.row[i].uid == t->uid))
			r = &p->last.row[i];
	memset(&p->in_flight, 0, sizeof(p->in_flight));
	p->in_flight.any = true;
	p->in_flight.restores = act == ACT_RESTORE;
	p->in_flight.whole_box = box;
	p->in_flight.takes = r != NULL &&
	    (box || act == ACT_EXPUNGE || act == ACT_MOVE ||
		act == ACT_REWRITE);
	if (p->in_flight.takes)
		p->in_flight.row = *r;
}

static bool
was_in_flight(const struct world *w, const struct place *p, const struct row *r)
{
	return (p->in_flight.any && p->in_flight.takes &&
	    root_of(w->model, p->in_flight.row.model_box) ==
		root_of(w->model, r->model_box) &&
	    (p->in_flight.whole_box || p->in_flight.row.guid == r->guid));
}

static void
check_durable(struct world *w, struct place *p, const struct snap *after)
{
	for (size_t i = 0; p->has_durable && i < p->durable.n; i++) {
		const struct row *r = &p->durable.row[i];
		const struct model_box *b =
		    &w->model->box[root_of(w->model, r->model_box)];
		unsigned n;

		/* Excused: another replica's power went in an expunge of it. */
		if (slot_of(w, r->model_box, r->guid)->kills > 0 ||
		    slot_of(w, r->model_box, r->guid)->excused || b->deleted ||
		    w->h->foreign || is_sink(w, p) || was_in_flight(w, p, r))
			continue;
		(void)row_of(w, after, r->model_box, r->guid, &n);
		if (n == 0)
			world_fail(w, "%s: %s was durable and is lost",
			    p->label, w->model->mail[r->guid]->guid);
	}
}

void
model_landed(struct world *w, struct place *p)
{
	struct snap after;

	if (!p->in_flight.any)
		return;
	p->in_flight.any = false;
	snap_take(w, p, &after);
	model_merged(w, p, &after);
	model_user(w, p, &p->last, &after, p->in_flight.restores);
	snap_fini(&p->last);
	p->last = after;
}

/*
 * The act under way was done, and with it all before it, since a store's log
 * loses nothing but its tail: something is there that was not, or what it was
 * to take away is gone though it was durable.
 */
static bool
landed(const struct world *w, const struct place *p, const struct snap *before,
    const struct snap *after)
{
	if (!p->in_flight.any || p->kind >= KIND_MAILDIR)
		return (false);
	/* Under a new UID: with another an expunge was taken back. */
	for (size_t i = 0; i < after->n; i++) {
		const struct box_row *b = box_at(before, after->row[i].box);

		if (b != NULL && after->row[i].uid >= b->uidnext)
			return (true);
	}
	for (size_t i = 0; i < p->durable.n; i++) {
		const struct row *r = &p->durable.row[i];

		if (was_in_flight(w, p, r) &&
		    row_at(before, r->box, r->uid) != NULL &&
		    row_at(after, r->box, r->uid) == NULL)
			return (true);
	}
	return (false);
}

static void
took_back(struct world *w, const struct snap *before, const struct snap *after)
{
	for (int k = 0; k < 2; k++) {
		const struct snap *x = k == 0 ? before : after,
				  *y = k == 0 ? after : before;

		for (size_t i = 0; i < x->boxes; i++)
			if (box_as(w, y, x->box[i].model_box) == NULL)
				w->model
				    ->box[root_of(
					w->model, x->box[i].model_box)]
				    .excused = true;
		for (size_t i = 0; i < x->n; i++) {
			const struct row *o =
			    row_at(y, x->row[i].box, x->row[i].uid);

			if (o == NULL || o->guid != x->row[i].guid)
				excuse(w, &x->row[i]);
			else if (o->bits != x->row[i].bits)
				untrack(w, o->guid);
		}
	}
}

void
model_same(struct world *w, struct place *p, const struct snap *before,
    const struct snap *after, bool power)
{
	if (power) {
		check_durable(w, p, after);
		if (landed(w, p, before, after)) {
			model_user(w, p, before, after, p->in_flight.restores);
			return;
		}
		for (size_t i = 0; i < w->model->slots; i++)
			w->model->slot[i].excused |=
			    w->model->slot[i].fragile[p->number];
		took_back(w, before, after);
		return;
	}
	for (size_t i = 0; i < before->n; i++) {
		const struct row *r = &before->row[i],
				 *o = row_at(after, r->box, r->uid);

		if (o == NULL || o->guid != r->guid || o->bits != r->bits)
			world_fail(w, "%s: %s did not survive a kill", p->label,
			    w->model->mail[r->guid]->guid);
	}
	if (before->n != after->n || before->boxes != after->boxes)
		world_fail(w, "%s: a kill made something", p->label);
}

void
model_durable(struct world *w, struct place *p)
{
	snap_fini(&p->durable);
	snap_take(w, p, &p->durable);
	p->has_durable = true;
	for (size_t i = 0; i < w->model->slots; i++)
		w->model->slot[i].fragile[p->number] = false;
}

void
model_forgot(struct world *w)
{
	for (size_t i = 0; i < w->model->slots; i++)
		w->model->slot[i].restored |= w->model->slot[i].saves > 0;
	for (unsigned i = 0; i < w->model->mails; i++)
		untrack(w, i);
}

/* ---- the end ---- */

static void
check_slot(struct world *w, struct place *p, const struct slot *s)
{
	struct model *m = w->model;
	const struct model_box *b = &m->box[root_of(m, s->box)];
	const char *guid = m->mail[s->mail]->guid;
	unsigned n;

	if (b->deleted || b->excused || s->excused || m->mail[s->mail]->excused)
		return;
	(void)row_of(w, &p->last, s->box, s->mail, &n);
	if (s->kills == 0 && s->saves > 0 && n == 0)
		world_fail(w, "%s has lost %s", p->label, guid);
	/*
	 * Mailboxes of one name that were made apart, and renamed before all
	 * had met, can stay two; and what is forgotten cannot be matched.
	 */
	if (n > s->saves && !b->merged && !s->restored)
		world_fail(w, "%s has %s %u times, saved %u times", p->label,
		    guid, n, s->saves);
	/* dsync's own rules bring back what got another UID meanwhile. */
	if (s->saves == 1 && s->kills > 0 && n > 0 && !s->restored &&
	    !w->h->foreign && !b->merged)
		world_fail(w, "%s has %s, which was expunged", p->label, guid);
}

void
model_end(struct world *w)
{
	for (unsigned i = 0; i < w->h->replicas; i++) {
		struct place *p = &w->place[i];

		snap_fini(&p->last);
		snap_take(w, p, &p->last);
		for (size_t k = 0; k < w->model->slots; k++)
			check_slot(w, p, &w->model->slot[k]);
		for (size_t k = 0; k < w->model->boxes; k++) {
			const struct model_box *b = &w->model->box[k];

			if (b->root == k && b->wanted && !b->deleted &&
			    !b->excused &&
			    box_as(w, &p->last, (unsigned)k) == NULL)
				world_fail(
				    w, "%s has lost a mailbox", p->label);
		}
	}
}

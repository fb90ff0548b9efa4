/*
 * filter -- which mailboxes and which new mails a sync takes (-m -x -t -e -I
 * -O; specs/dsync-protocol.md 2.1, 6.4).
 */
#include "sync/brain_internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/name.h"

/*
 * '*' any run; '?' (masks of -x) one character; '%' (names of -m) any run
 * within a level.  A peer's masks are tried, too: for each of its characters the
 * places of the name that it can have got to, never one way after the other.
 */
static bool
mask_match(const char *mask, const char *name, bool list)
{
	bool at[NAME_MAX_BYTES + 1] = { true };
	size_t n = strnlen(name, NAME_MAX_BYTES + 1);
	bool any = n <= NAME_MAX_BYTES, run;
	char last = '\0'; /* the run before; '*' takes in all that follow */

	for (; any && *mask != '\0'; mask++) {
		if (*mask == '*' || (list && *mask == '%')) {
			if (last == '*' || last == *mask)
				continue;
			last = *mask;
			run = false;
			for (size_t i = 0; i <= n; i++) {
				at[i] = run = run || at[i];
				if (last == '%' && name[i] == '/')
					run = false;
			}
			continue;
		}
		last = '\0';
		any = false;
		for (size_t i = n; i > 0; i--) {
			at[i] = at[i - 1] &&
			    (name[i - 1] == *mask || (!list && *mask == '?'));
			any |= at[i];
		}
		at[0] = false;
	}
	return (any && at[n]);
}

/*
 * A store keeps no special-use attributes: "\Trash" is the mailbox that is
 * commonly called so.
 */
static bool
special_match(const char *use, const char *name)
{
	static const char *const known[][4] = {
		{ "\\Trash", "Trash", "Deleted Messages", "Deleted Items" },
		{ "\\Junk", "Junk", "Spam", "Junk E-mail" },
		{ "\\Sent", "Sent", "Sent Messages", "Sent Items" },
		{ "\\Drafts", "Drafts", "Drafts", "Drafts" },
		{ "\\Archive", "Archive", "Archives", "Archive" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcasecmp(use, known[i][0]) == 0)
			for (size_t k = 1; k < 4; k++)
				if (strcmp(name, known[i][k]) == 0)
					return (true);
	return (strcasecmp(use + 1, name) == 0);
}

static bool
one_match(const char *mask, const char *name, bool list)
{
	return (mask[0] == '\\' ? special_match(mask, name)
				: mask_match(mask, name, list));
}

bool
brain_filter_name(const struct item_handshake *p, const char *name)
{
	bool take = p->mailboxes == 0;

	for (size_t i = 0; i < p->mailboxes && !take; i++)
		take = one_match(p->mailbox[i], name, true);
	for (size_t i = 0; i < p->excludes && take; i++)
		take = !one_match(p->exclude[i], name, false);
	return (take);
}

bool
filter_active(const struct item_handshake *p)
{
	return (p->since != 0 || p->until != 0 || p->max_size != 0 ||
	    p->flag != NULL);
}

/* 0: no system flag that is known */
static uint8_t
flag_bit(const char *flag)
{
	static const struct {
		const char *name;
		uint8_t bit;
	} flags[] = {
		{ "\\Answered", MAIL_ANSWERED },
		{ "\\Flagged", MAIL_FLAGGED },
		{ "\\Deleted", MAIL_DELETED },
		{ "\\Seen", MAIL_SEEN },
		{ "\\Draft", MAIL_DRAFT },
		{ "\\Recent", MAIL_RECENT },
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (strcasecmp(flag, flags[i].name) == 0)
			return (flags[i].bit);
	return (0);
}

static bool
flag_match(const char *flag, const struct item_change *c)
{
	if (flag[0] == '\\')
		return ((c->final & flag_bit(flag)) != 0);
	for (size_t i = 0; i < c->kw_final.n; i++)
		if (strcasecmp(flag, c->kw_final.name[i]) == 0)
			return (true);
	return (false);
}

bool
filter_takes(const struct item_handshake *p, const struct item_change *c)
{
	const char *flag = p->flag;
	bool want;

	if (p->since != 0 && c->received < p->since)
		return (false);
	if (p->until != 0 && c->received > p->until)
		return (false);
	if (p->max_size != 0 && c->virtual_size != UINT64_MAX &&
	    c->virtual_size > p->max_size)
		return (false);
	if (flag == NULL)
		return (true);
	want = flag[0] != '-';
	flag += !want;
	/* As Dovecot does: a flag that is not known filters nothing. */
	if (flag[0] == '\\' && flag_bit(flag) == 0)
		return (true);
	return (flag_match(flag, c) == want);
}

static int
read_size(struct stream *s, uint64_t *size)
{
	uint8_t chunk[16384];
	uint8_t last = 0;
	ssize_t n;

	while ((n = stream_read(s, chunk, sizeof(chunk))) > 0)
		for (ssize_t i = 0; i < n; i++) {
			*size += chunk[i] == '\n' && last != '\r' ? 2 : 1;
			last = chunk[i];
		}
	return ((int)n);
}

int
filter_size(struct brain *b, const struct msg *m, uint64_t *size)
{
	struct stream *s = NULL;
	uint64_t n = m->vsize;
	int rc = 0;

	if (n == 0) {
		rc = b->r->ops->body(b->r, b->box.id, m->uid, &s);
		if (rc == 0)
			rc = read_size(s, &n);
		stream_close(s);
	}
	if (rc == -ENOMEM)
		return (rc);
	/* One that cannot be read is not left out for its size. */
	*size = rc != 0 || n == 0 ? 1 : n;
	return (0);
}

/*
 * state -- records of what two replicas had in common; the state string.
 */
#include "sync/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <zlib.h>

#include "base/hash.h"

#define VERSION_LEN 4
#define CRC_LEN 4
#define RECORD_LEN 44
#define RECORD_V0_LEN 40
#define RAW_MAX (VERSION_LEN + CRC_LEN + (size_t)STATE_MAX * RECORD_LEN)

struct state_entry {
	struct item_state state;
	UT_hash_handle hh;
};

void
state_list_init(struct state_list *l)
{
	memset(l, 0, sizeof(*l));
}

void
state_list_fini(struct state_list *l)
{
	struct state_entry *e, *next;

	HASH_ITER (hh, l->by_guid, e, next) {
		HASH_DEL(l->by_guid, e);
		free(e);
	}
	state_list_init(l);
}

static struct state_entry *
entry_of(const struct state_list *l, const struct guid *mailbox)
{
	struct state_entry *e;

	HASH_FIND(hh, l->by_guid, mailbox, sizeof(*mailbox), e);
	return (e);
}

int
state_put(struct state_list *l, const struct item_state *s)
{
	struct state_entry *e = entry_of(l, &s->mailbox);

	if (e != NULL) {
		e->state = *s;
		return (0);
	}
	if (l->n == STATE_MAX)
		return (-E2BIG);
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return (-ENOMEM);
	e->state = *s;
	HASH_ADD(hh, l->by_guid, state.mailbox, sizeof(e->state.mailbox), e);
	l->n++;
	return (0);
}

struct item_state *
state_find(const struct state_list *l, const struct guid *mailbox)
{
	struct state_entry *e = entry_of(l, mailbox);

	return (e == NULL ? NULL : &e->state);
}

void
state_drop(struct state_list *l, const struct guid *mailbox)
{
	struct state_entry *e = entry_of(l, mailbox);

	if (e == NULL)
		return;
	HASH_DEL(l->by_guid, e);
	free(e);
	l->n--;
}

int
state_each(const struct state_list *l, state_fn *fn, void *arg)
{
	struct state_entry *e, *next;
	int rc;

	HASH_ITER (hh, l->by_guid, e, next) {
		rc = fn(arg, &e->state);
		if (rc != 0)
			return (rc);
	}
	return (0);
}

/* ---- the string ---- */

static uint32_t
crc_of(const uint8_t *p, size_t n)
{
	return ((uint32_t)crc32(0, p, (uInt)n));
}

/* Only the alphabet, whole groups of four, '=' at the end alone. */
static bool
base64_ok(const char *s, size_t n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t data = n;

	if (n % 4 != 0)
		return (false);
	while (n - data < 2 && data > 0 && s[data - 1] == '=')
		data--;
	return (strspn(s, alphabet) == data);
}

/* *raw is malloc'd.  -EINVAL: not base64. */
static int
decode(const char *s, size_t n, uint8_t **raw, size_t *len)
{
	uint8_t *p;
	int got;

	if (!base64_ok(s, n))
		return (-EINVAL);
	p = malloc(n / 4 * 3 + 1);
	if (p == NULL)
		return (-ENOMEM);
	got = EVP_DecodeBlock(p, (const unsigned char *)s, (int)n);
	if (got < 0) {
		free(p);
		return (-EINVAL);
	}
	for (size_t i = n; i > 0 && s[i - 1] == '='; i--)
		got--;
	*raw = p;
	*len = (size_t)got;
	return (0);
}

static bool
crc_ok(const uint8_t *p, size_t n)
{
	struct rd r;

	rd_init(&r, p + n - CRC_LEN, CRC_LEN);
	return (rd_le32(&r) == crc_of(p, n - CRC_LEN));
}

/*
 * NULL, or what is wrong.  *records: how many there are behind the version.
 * What both versions could be is version 1, as Dovecot has it.
 */
static const char *
check(const uint8_t *p, size_t n, size_t *records)
{
	bool size_ok = n >= VERSION_LEN + CRC_LEN &&
	    (n - VERSION_LEN - CRC_LEN) % RECORD_LEN == 0;

	*records = 0;
	if (n < CRC_LEN)
		return ("it is too short");
	if (!crc_ok(p, n))
		return (
		    size_ok ? "its checksum is wrong" : "its size is wrong");
	if (size_ok)
		*records = (n - VERSION_LEN - CRC_LEN) / RECORD_LEN;
	else if ((n - CRC_LEN) % RECORD_V0_LEN != 0)
		return ("its size is wrong");
	return (NULL);
}

static void
take(struct rd *r, struct item_state *s)
{
	const uint8_t *guid = rd_bytes(r, sizeof(s->mailbox.b));

	memset(s, 0, sizeof(*s));
	if (guid != NULL)
		memcpy(s->mailbox.b, guid, sizeof(s->mailbox.b));
	s->last_uidvalidity = rd_le32(r);
	s->last_common_uid = rd_le32(r);
	s->last_common_modseq = rd_le64(r);
	s->last_common_pvt_modseq = rd_le64(r);
	s->last_messages_count = rd_le32(r);
	s->end_modseq = s->last_common_modseq;
}

static int
take_records(struct state_list *l, const uint8_t *p, size_t n, size_t records)
{
	struct item_state s;
	struct rd r;
	int rc = 0;

	rd_init(&r, p, n);
	(void)rd_le32(&r);
	for (size_t i = 0; i < records && rc == 0; i++) {
		take(&r, &s);
		rc = state_put(l, &s);
	}
	return (rc);
}

int
state_parse(struct state_list *l, const char *text, const char **problem)
{
	static const char blanks[] = " \t\r\n";
	const char *why;
	uint8_t *raw;
	size_t n, len, records;
	int rc;

	text += strspn(text, blanks);
	for (n = strlen(text); n > 0 && strchr(blanks, text[n - 1]) != NULL;)
		n--;
	if (n == 0)
		return (0);
	*problem = "it is too long";
	if (n / 4 * 3 > RAW_MAX)
		return (-EINVAL);
	rc = decode(text, n, &raw, &len);
	if (rc != 0) {
		*problem = "it is not base64";
		return (rc);
	}
	why = check(raw, len, &records);
	if (why == NULL) {
		rc = take_records(l, raw, len, records);
	} else {
		*problem = why;
		rc = -EINVAL;
	}
	free(raw);
	return (rc);
}

static int
put_record(void *arg, const struct item_state *s)
{
	struct buf *b = arg;

	buf_put(b, s->mailbox.b, sizeof(s->mailbox.b));
	buf_put_le32(b, s->last_uidvalidity);
	buf_put_le32(b, s->last_common_uid);
	buf_put_le64(b, s->last_common_modseq);
	buf_put_le64(b, s->last_common_pvt_modseq);
	buf_put_le32(b, s->last_messages_count);
	return (0);
}

void
state_format(const struct state_list *l, struct buf *b)
{
	struct buf raw = BUF_INIT;

	buf_put_le32(&raw, 1);
	(void)state_each(l, put_record, &raw);
	if (raw.error == 0)
		buf_put_le32(&raw, crc_of(raw.data, raw.len));
	/* EVP_EncodeBlock adds a NUL. */
	if (raw.error != 0 || buf_reserve(b, (raw.len + 2) / 3 * 4 + 1) != 0)
		b->error = -ENOMEM;
	else
		b->len += (size_t)EVP_EncodeBlock(
		    b->data + b->len, raw.data, (int)raw.len);
	buf_fini(&raw);
}

/*
 * store_make -- short ways to fill a store in tests (store_make.h).
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "tests/unit/lib/store_make.h"

char make_said[1024];
unsigned make_errors, make_warnings;
bool make_later;

static void
sink(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	if (level == LOG_LEVEL_ERROR)
		make_errors++;
	if (level == LOG_LEVEL_WARNING)
		make_warnings++;
	if (getenv("STORE_TALK") != NULL)
		fprintf(stderr, "%s\n", line);
	(void)snprintf(make_said, sizeof(make_said), "%s", line);
}

void
make_quiet(void)
{
	log_set_sink(sink, NULL);
}

struct store *
make_store(struct os *os)
{
	struct store *s = NULL;

	ck_assert_int_eq(store_open(os, STORE_CREATE, NULL, &s), 0);
	return (s);
}

struct store *
make_reopen(struct os *os, struct store *s)
{
	ck_assert_int_eq(store_close(s), 0);
	s = NULL;
	ck_assert_int_eq(store_open(os, 0, NULL, &s), 0);
	return (s);
}

uint32_t
make_mailbox(struct store *s, const char *name)
{
	struct mailbox_new m = { .name = name };
	struct txn *t;
	uint32_t id;

	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_mailbox_create(t, &m, &id), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	return (id);
}

struct body_ref
make_body_bytes(struct store *s, const void *p, size_t n, uint64_t *vsize)
{
	struct body_writer *w;
	struct stream *in;
	struct body_ref ref;

	if (make_later) {
		ck_assert_int_eq(stream_from_memory(p, n, &in), 0);
		ck_assert_int_eq(store_body_later(s, in, &ref, vsize), 0);
		stream_close(in);
		return (ref);
	}
	ck_assert_int_eq(body_writer_new(s, &w), 0);
	ck_assert_int_eq(body_writer_add(w, p, n), 0);
	ck_assert_int_eq(body_writer_finish(w, &ref, vsize), 0);
	body_writer_free(w);
	return (ref);
}

struct body_ref
make_body(struct store *s, const char *text)
{
	return (make_body_bytes(s, text, strlen(text), NULL));
}

uint32_t
make_msg(struct store *s, uint32_t mailbox, const char *guid, const char *text)
{
	struct msg m = { .guid = guid, .state = MSG_NEW, .received = T0 };
	struct txn *t;
	uint32_t uid;

	m.body = make_body(s, text);
	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_save(t, mailbox, &m, &uid), 0);
	ck_assert_int_eq(txn_commit(t), 0);
	return (uid);
}

void
make_flags(struct store *s, uint32_t mailbox, uint32_t uid, uint8_t add,
    uint8_t remove)
{
	struct msg_update u = { .add = add, .remove = remove };
	struct txn *t;

	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_update(t, mailbox, uid, &u), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

void
make_expunge(struct store *s, uint32_t mailbox, uint32_t uid)
{
	struct txn *t;

	ck_assert_int_eq(txn_begin(s, NULL, &t), 0);
	ck_assert_int_eq(txn_expunge(t, mailbox, uid), 0);
	ck_assert_int_eq(txn_commit(t), 0);
}

char *
make_text(struct store *s, const struct body_ref *ref)
{
	struct body *b;
	char *out;
	ssize_t n;

	if (body_open(s, ref, &b) != 0)
		return (NULL);
	out = malloc(ref->size + 1);
	ck_assert_ptr_nonnull(out);
	n = body_read(b, out, ref->size, 0);
	body_close(b);
	if (n < 0 || (uint64_t)n != ref->size) {
		free(out);
		return (NULL);
	}
	out[n] = '\0';
	return (out);
}

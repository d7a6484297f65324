/* SPDX-License-Identifier: Apache-2.0
 *
 * Publish and answer (shm/slot.hpp): one client, one daemon, one lane of two slots in ring order.
 * The daemon takes requests in order and may answer them in any order. The sequence counts modulo
 * 4, so it wraps. With -DHOSTILE the client also overwrites its published request line at any
 * moment.
 *
 * CHECKED
 *   A slot never holds two requests at once, and each is answered once.                        I1
 *   An answer carries the sequence of the ticket and belongs to the request that was taken.    I2
 *   What the daemon uses lies within bounds, whatever the client writes meanwhile.             I3
 *   An honest client reads the body that goes with the sequence it waits for, and the daemon the
 *   body that goes with the sequence it sees (release/acquire [A] and [B]).
 *   No state without a way on: no request is lost.
 *
 * PLANTED BUGS, each must be found
 *   BUG_STAMP_FROM_SHARED   the answer takes its sequence from the request line      (HOSTILE)
 *   BUG_READ_TWICE          the daemon checks one copy of the line and uses another  (HOSTILE)
 *   BUG_PLAIN_HEAD          the heads are stored without release                     (WEAK_STORES)
 *   BUG_BODY_BEFORE_HEAD    the client reads the body of the answer before its head
 *   BUG_REUSE_UNANSWERED    the client reuses a slot before its answer has come
 */
#define THREADS 2
#define CLIENT 0
#define DAEMON 1

#define SLOTS 2
#ifdef HOSTILE
#define REQUESTS 4 /* garbage words included */
#else
#define REQUESTS 6
#endif
#define SEQ_MODULUS 4
#define IN_BOUNDS 3 /* bodies 1..3 are valid; the hostile client also writes 4 */

#define REQUEST_HEAD(slot) (slot)
#define REQUEST_BODY(slot) (2 + slot)
#define RESPONSE_HEAD(slot) (4 + slot)
#define RESPONSE_BODY(slot) (6 + slot)
#define WORDS 8
#define BUFFER_STORES 3
#include "store_buffers.pml"

#ifdef BUG_PLAIN_HEAD
#define PUBLISH_HEAD POKE
#else
#define PUBLISH_HEAD PUBLISH
#endif

#define NEXT_SEQ(seq) ((seq + 1) % SEQ_MODULUS)
#define BODY_OF(number) (1 + (number) % IN_BOUNDS)

/* Ghost state, for the assertions only: which request number stands in each slot, and whether the
 * daemon holds its ticket. */
byte asked[SLOTS];
bool taken[SLOTS];
byte answers;

active proctype client() {
  byte submitted, finished, slot, body;
  byte seq[SLOTS];
  bool in_flight[SLOTS];
  do
  :: submitted < REQUESTS &&
#ifdef BUG_REUSE_UNANSWERED
     true
#else
     !in_flight[submitted % SLOTS]
#endif
     ->
     slot = submitted % SLOTS;
     d_step {
       in_flight[slot] = true;
       seq[slot] = NEXT_SEQ(seq[slot]);
       asked[slot] = submitted;
     }
     POKE(CLIENT, REQUEST_BODY(slot), BODY_OF(submitted));
     PUBLISH_HEAD(CLIENT, REQUEST_HEAD(slot), seq[slot]);
     submitted++
#ifdef HOSTILE
  :: submitted < REQUESTS -> /* garbage into any request line, at any moment */
     atomic {
       select(slot : 0 .. (SLOTS - 1));
       select(body : 3 .. 4);
     }
     POKE(CLIENT, REQUEST_BODY(slot), body);
     submitted++
  :: submitted < REQUESTS ->
     atomic {
       select(slot : 0 .. (SLOTS - 1));
       select(body : 0 .. (SEQ_MODULUS - 1));
     }
     POKE(CLIENT, REQUEST_HEAD(slot), body);
     submitted++
  :: submitted == REQUESTS -> break /* it may also go away without its answers */
#else
  :: finished < submitted ->
     if
     :: in_flight[0] -> slot = 0
     :: in_flight[1] -> slot = 1
     fi;
#ifdef BUG_BODY_BEFORE_HEAD
     body = PEEK(RESPONSE_BODY(slot));
     PEEK(RESPONSE_HEAD(slot)) == seq[slot];
#else
     PEEK(RESPONSE_HEAD(slot)) == seq[slot]; /* waits for the answer */
     body = PEEK(RESPONSE_BODY(slot));
#endif
     assert(body == BODY_OF(asked[slot]));
     d_step {
       in_flight[slot] = false;
       finished++;
     }
  :: finished == REQUESTS -> break
#endif
  od;
#ifndef HOSTILE
  assert(answers == REQUESTS);
#endif
}

/* A ticket: what the daemon keeps of a request at dispatch. */
bool ticket_held[SLOTS];
byte ticket_seq[SLOTS];
byte ticket_body[SLOTS];

inline take(slot) {
  /* Copy the line once; everything below uses the copy. */
  copy = PEEK(REQUEST_BODY(slot));
  d_step {
    assert(!ticket_held[slot]);
    ticket_held[slot] = true;
    ticket_seq[slot] = next_seq[slot];
    next_seq[slot] = NEXT_SEQ(next_seq[slot]);
    taken[slot] = true;
  }
  if
  :: copy > IN_BOUNDS -> ticket_body[slot] = 0 /* bad_request */
  :: else ->
#ifdef BUG_READ_TWICE
     ticket_body[slot] = PEEK(REQUEST_BODY(slot))
#else
     ticket_body[slot] = copy
#endif
  fi;
  assert(ticket_body[slot] <= IN_BOUNDS);
#ifndef HOSTILE
  assert(ticket_body[slot] == BODY_OF(asked[slot]));
#endif
}

inline answer(slot) {
  POKE(DAEMON, RESPONSE_BODY(slot), ticket_body[slot]);
#ifdef BUG_STAMP_FROM_SHARED
  stamp = PEEK(REQUEST_HEAD(slot));
#else
  stamp = ticket_seq[slot];
#endif
  d_step {
    assert(taken[slot] && stamp == ticket_seq[slot]);
    taken[slot] = false;
    ticket_held[slot] = false;
    answers++;
  }
  PUBLISH_HEAD(DAEMON, RESPONSE_HEAD(slot), stamp);
  stamp = 0
}

active proctype daemon() {
  byte next_slot, copy, stamp;
  byte next_seq[SLOTS];
  next_seq[0] = 1;
  next_seq[1] = 1;
end:
  do
  /* Only the next slot of the lane, and not while its ticket is in flight. */
  :: !ticket_held[next_slot] && PEEK(REQUEST_HEAD(next_slot)) == next_seq[next_slot] ->
     take(next_slot);
     next_slot = (next_slot + 1) % SLOTS
  :: ticket_held[0] -> answer(0)
  :: ticket_held[1] -> answer(1)
  od
}

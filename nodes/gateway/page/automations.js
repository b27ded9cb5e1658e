// The page's second view: automations, and what their runs did, step by step.
//
//   list ◄── GET automations ── every few seconds while it is seen
//     └─ one ◄── GET automations/ID/traces ── every second while a run is under way
//
// It lives on what app.js has: `api`, `state`, `t`, `$`. Text from outside only ever enters the page as textContent.
'use strict';

Object.assign(TEXTS.en, {
  views: 'Views', chat: 'Conversation', automations: 'Automations', run: 'Run', on: 'on', back: 'All automations',
  noAutomations: 'There are no automations. Load some: jarvis automation load FILE',
  noRuns: 'It has not run yet.', never: 'never run', lastRun: 'last run', underWay: 'under way', atNode: 'on {node}',
  noAnswer: 'The automations cannot be read at the moment. Trying again…', refused: 'That was refused: {why}',
  runs: 'Runs', steps: 'Steps of the run', dropped: '{n} earlier steps are not kept any more.', movedHere: 'went on at {node}',
  finished: 'finished', failed_run: 'failed', aborted: 'ended early', stopped_run: 'stopped', missed: 'came too late',
  queued_run: 'waits for the run before it', active: 'under way', after: 'after {s} s',
  s_triggered: 'triggered by {trigger}', s_late: '{s} s late: {taken}', s_queued: 'waits for the runs before it', s_done: 'done',
  s_disabled: 'switched off', s_holds: 'the condition holds', s_not: 'the condition does not hold',
  s_error: 'the condition could not be looked at: {error}', s_round: 'round {index}', s_called: 'called {service}',
  s_calledFor: 'called {service} for {entities}', s_notReached: 'did not reach {entities}',
  s_answered: 'all that was asked for is done', s_sent: 'sent the event {event}',
  s_waits: 'waits', s_waitsUntil: 'waits until {until}', s_came: 'what it waited for came', s_timed_out: 'the time was over',
  s_passed_over: 'failed, and goes on: {error}', s_ended: 'ended: {how}',
  w_delay: 'waits for the time', w_template: 'waits for a template', w_triggers: 'waits for triggers',
  w_calls: 'waits for what it asked for', w_join: 'waits for parallel sequences', until: 'until {until}',
});
Object.assign(TEXTS.fr, {
  views: 'Vues', chat: 'Conversation', automations: 'Automatisations', run: 'Exécuter', on: 'active',
  back: 'Toutes les automatisations',
  noAutomations: 'Il n’y a pas d’automatisation. Chargez-en : jarvis automation load FICHIER',
  noRuns: 'Elle n’a pas encore été exécutée.', never: 'jamais exécutée', lastRun: 'dernière exécution', underWay: 'en cours',
  atNode: 'sur {node}', noAnswer: 'Les automatisations sont illisibles pour l’instant. Nouvel essai…',
  refused: 'Refusé : {why}', runs: 'Exécutions', steps: 'Étapes de l’exécution',
  dropped: '{n} étapes plus anciennes ne sont plus gardées.', movedHere: 'a continué sur {node}', finished: 'terminée',
  failed_run: 'échouée', aborted: 'interrompue', stopped_run: 'arrêtée', missed: 'venue trop tard',
  queued_run: 'attend l’exécution précédente', active: 'en cours', after: 'après {s} s',
  s_triggered: 'déclenchée par {trigger}', s_late: '{s} s de retard : {taken}', s_queued: 'attend les exécutions précédentes',
  s_done: 'fait', s_disabled: 'désactivé', s_holds: 'la condition est remplie', s_not: 'la condition n’est pas remplie',
  s_error: 'la condition n’a pas pu être examinée : {error}', s_round: 'tour {index}', s_called: 'a appelé {service}',
  s_calledFor: 'a appelé {service} pour {entities}', s_notReached: 'n’a pas atteint {entities}',
  s_answered: 'tout ce qui était demandé est fait',
  s_sent: 'a émis l’événement {event}', s_waits: 'attend', s_waitsUntil: 'attend jusqu’à {until}',
  s_came: 'ce qui était attendu est venu', s_timed_out: 'le délai est passé', s_passed_over: 'a échoué, et continue : {error}',
  s_ended: 'fin : {how}', w_delay: 'attend l’heure', w_template: 'attend un modèle', w_triggers: 'attend des déclencheurs',
  w_calls: 'attend ce qui était demandé', w_join: 'attend des séquences parallèles', until: 'jusqu’à {until}',
});

const LIST_EVERY_MS = 3000;
const TRACE_EVERY_MS = 1000;
const MAX_INDENT = 6;

const home = { shown: false, admin: false, rows: new Map(), open: null, run: null, drawn: '', timer: null, reading: false, again: false, told: '' };

// ---- which view

function showView(view) {
  home.shown = view === 'automations';
  $('automations').hidden = !home.shown;
  $('log').hidden = $('composer').hidden = home.shown;
  $('view-chat').setAttribute('aria-current', home.shown ? 'false' : 'page');
  $('view-automations').setAttribute('aria-current', home.shown ? 'page' : 'false');
  if (home.shown) refreshAutomations();
  else clearTimeout(home.timer);
}

// Reads what is seen, and once more in a while.
async function refreshAutomations() {
  clearTimeout(home.timer);
  home.again = home.reading;
  if (!home.shown || home.reading) return;
  let pause = LIST_EVERY_MS;
  if (!document.hidden && state.token && !$('app').hidden) {
    home.reading = true;
    try {
      const me = await ask('GET', '/api/v1/me');
      home.admin = me.admin === true;
      if (home.open) {
        const id = home.open;
        const one = await ask('GET', `/api/v1/automations/${encodeURIComponent(id)}`);
        const traces = (await ask('GET', `/api/v1/automations/${encodeURIComponent(id)}/traces`)).traces;
        if (home.open === id) drawOne(one, traces);
        if (traces.some((run) => !run.settled)) pause = TRACE_EVERY_MS;
      } else {
        const list = (await ask('GET', '/api/v1/automations')).automations;
        if (!home.open) drawList(list);
      }
      tell(home.told);
    } catch (error) {
      if (error.status === 404 && home.open) closeOne();
      tell(error.detail || t('noAnswer'));
    } finally {
      home.reading = false;
    }
  }
  // What was pressed meanwhile is shown at once.
  if (home.shown) home.timer = setTimeout(refreshAutomations, home.again ? 0 : pause);
}

async function ask(method, path, body) {
  const answer = await api(method, path, body);
  if (answer.ok) return answer.value;
  throw Object.assign(new Error(String(answer.status)), { status: answer.status, detail: answer.value?.detail });
}

// Has something done, and shows what came of it.
async function order(button, path, body) {
  button.disabled = true;
  home.told = '';
  try {
    await ask('POST', path, body);
  } catch (error) {
    home.told = error.detail ? t('refused', { why: error.detail }) : t('noAnswer');
    tell(home.told);
  } finally {
    button.disabled = false;
  }
  refreshAutomations();
}

function tell(text) {
  const place = $('automations-told');
  if (place.textContent !== (text || '')) place.textContent = text || '';
  place.hidden = !text;
}

// ---- the list

function make(tag, name, text) {
  const el = document.createElement(tag);
  if (name) el.className = name;
  if (text !== undefined) el.textContent = text;
  return el;
}

function makeButton(name, text) {
  const button = make('button', name, text);
  button.type = 'button';
  return button;
}

function set(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

function drawList(all) {
  $('one-automation').hidden = true;
  $('all-automations').hidden = false;
  $('no-automations').hidden = all.length > 0;
  const list = $('automation-list');
  const wanted = new Set(all.map((one) => one.id));
  for (const [id, row] of home.rows) {
    if (wanted.has(id)) continue;
    row.root.remove();
    home.rows.delete(id);
  }
  all.forEach((one, at) => {
    const row = home.rows.get(one.id) || makeRow(one.id);
    set(row.name, one.alias);
    set(row.last, lastRun(one));
    drawSwitch(row, one);
    // Moved only where it has to be: a button keeps its focus.
    if (list.children[at] !== row.root) list.insertBefore(row.root, list.children[at] || null);
  });
}

// A row as it is kept: nothing is made anew that somebody may be about to press.
function makeRow(id) {
  const row = { root: make('li', 'automation'), name: makeButton('open'), last: make('span', 'last') };
  row.root.dataset.id = id;
  row.name.onclick = () => openOne(id);
  const words = make('div', 'words');
  words.append(row.name, row.last);
  row.root.append(words);
  addControls(row, id);
  home.rows.set(id, row);
  return row;
}

function addControls(row, id) {
  const path = `/api/v1/automations/${encodeURIComponent(id)}`;
  row.switch = makeButton('switch');
  row.switch.setAttribute('role', 'switch');
  row.switch.onclick = () => {
    const on = row.switch.getAttribute('aria-checked') === 'true';
    order(row.switch, `${path}/${on ? 'disable' : 'enable'}`, {});
  };
  row.run = makeButton('run', t('run'));
  row.run.onclick = () => order(row.run, `${path}/trigger`, {});
  row.root.append(row.switch, row.run);
}

function drawSwitch(row, one) {
  row.switch.setAttribute('aria-checked', String(one.enabled));
  row.switch.setAttribute('aria-label', `${one.alias}: ${t('on')}`);
  row.run.setAttribute('aria-label', `${t('run')}: ${one.alias}`);
  row.run.hidden = !home.admin;
  // Everybody sees how it stands; administrators change it.
  row.switch.setAttribute('aria-disabled', String(!home.admin));
  row.switch.disabled = !home.admin;
}

function lastRun(one) {
  const last = one.last_triggered_ms === null ? t('never') : `${t('lastRun')} ${day(one.last_triggered_ms)}`;
  const where = one.owner ? `, ${t('atNode', { node: one.owner })}` : '';
  return one.running ? `${last}, ${t('underWay')}${where}` : `${last}${where}`;
}

// ---- one automation

function openOne(id) {
  home.open = id;
  home.run = null;
  home.drawn = '';
  refreshAutomations();
}

function closeOne() {
  const id = home.open;
  home.open = null;
  home.drawn = '';
  $('one-automation').hidden = true;
  $('all-automations').hidden = false;
  home.rows.get(id)?.name.focus();
}

function drawOne(one, traces) {
  $('all-automations').hidden = true;
  const first = $('one-automation').hidden;
  $('one-automation').hidden = false;
  set($('automation-name'), one.alias);
  set($('automation-about'), [one.description, `${one.file}:${one.line}`, lastRun(one)].filter(Boolean).join(' · '));
  const controls = $('automation-controls');
  if (controls.dataset.id !== one.id) {
    controls.dataset.id = one.id;
    controls.replaceChildren();
    home.control = { root: controls };
    addControls(home.control, one.id);
  }
  drawSwitch(home.control, one);
  if (first) $('automation-back').focus();
  const run = traces.find((each) => each.run === home.run) || traces[0];
  const drawn = JSON.stringify([traces.map((each) => [each.run, each.state, each.ended]), run]);
  if (drawn === home.drawn) return;
  home.drawn = drawn;
  $('no-runs').hidden = traces.length > 0;
  drawRuns(traces, run);
  drawSteps(run);
}

function drawRuns(traces, shown) {
  const focused = document.activeElement?.dataset?.run;
  $('run-list').replaceChildren(...traces.map((run) => {
    const item = make('li');
    const button = makeButton(`run-of ${outcome(run)}`, `${day(run.started_ms)} · ${standing(run)}`);
    button.dataset.run = run.run;
    button.setAttribute('aria-pressed', String(run.run === shown?.run));
    button.onclick = () => { home.run = run.run; home.drawn = ''; refreshAutomations(); };
    item.append(button);
    return item;
  }));
  if (focused) document.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
}

function standing(run) {
  if (run.state === 'queued') return t('queued_run');
  if (run.state !== 'ended') return t('active');
  const how = t({ failed: 'failed_run', stopped: 'stopped_run' }[run.ended] || run.ended);
  const after = run.ended_ms === null ? '' : ` ${t('after', { s: seconds(run.ended_ms - run.started_ms) })}`;
  return `${how}${after}${run.why ? ` (${run.why})` : ''}`;
}

function outcome(run) {
  if (run.state !== 'ended') return 'wait';
  return { finished: 'good', failed: 'bad' }[run.ended] || 'late';
}

// ---- steps

const ICONS = {
  triggered: '⚡', queued: '…', done: '✓', disabled: '⊘', condition: '?', round: '↻', called: '→', answered: '✓', sent: '✉',
  waits: '‖', came: '✓', timed_out: '◔', late: '◔', passed_over: '!', not_reached: '!', ended: '■',
};

function kind(step) {
  if (step.what === 'condition') return step.error ? 'bad' : step.holds ? 'good' : 'late';
  if (step.what === 'passed_over') return 'bad';
  if (step.what === 'not_reached' || step.what === 'late' || step.what === 'timed_out') return 'late';
  if (step.what === 'waits' || step.what === 'queued') return 'wait';
  if (step.what === 'disabled') return 'plain';
  return 'good';
}

function words(step) {
  const until = step.until_ms ? clock(step.until_ms) : '';
  switch (step.what) {
    case 'triggered': {
      const late = step.late_ms ? ` (+${seconds(step.late_ms)} s)` : '';
      return t('s_triggered', step) + late;
    }
    case 'condition': return step.error ? t('s_error', step) : t(step.holds ? 's_holds' : 's_not');
    case 'called': return t(step.entities?.length ? 's_calledFor' : 's_called', { ...step, entities: step.entities?.join(', ') });
    case 'not_reached': {
      const entities = step.entities.map(([entity, why]) => `${entity} (${why})`).join(', ');
      return t('s_notReached', { entities });
    }
    case 'waits': return until ? t('s_waitsUntil', { until }) : t('s_waits');
    case 'late': return t('s_late', { s: seconds(step.by_ms), taken: String(step.taken).replaceAll('_', ' ') });
    default: return TEXTS.en[`s_${step.what}`] ? t(`s_${step.what}`, step) : String(step.what).replaceAll('_', ' ');
  }
}

function drawSteps(run) {
  const steps = run?.steps || [];
  $('dropped').hidden = !run?.steps_dropped;
  set($('dropped'), run?.steps_dropped ? t('dropped', { n: run.steps_dropped }) : '');
  const items = [];
  steps.forEach((step, at) => {
    const before = steps[at - 1];
    if (before && before.node !== step.node) {
      const moved = make('li', 'moved', t('movedHere', { node: step.node }));
      moved.dataset.node = step.node;
      items.push(moved);
    }
    const last = at === steps.length - 1 && step.what === 'ended';
    items.push(item(ICONS[step.what] || '•', last ? outcome(run) : kind(step), step, words(step), run.started_ms));
  });
  if (run && run.state !== 'ended') {
    for (const wait of run.waits) {
      const until = wait.until_ms ? ` ${t('until', { until: clock(wait.until_ms) })}` : '';
      const told = make('li', 'step now');
      told.append(icon('‖', 'wait'), make('span', 'what', t(`w_${wait.what}`) + until));
      items.push(told);
    }
  }
  $('steps').replaceChildren(...items);
}

function icon(sign, outcomeOf) {
  const el = make('span', `icon ${outcomeOf}`, sign);
  el.setAttribute('aria-hidden', 'true');
  return el;
}

function item(sign, outcomeOf, step, text, startedMs) {
  const li = make('li', `step ${outcomeOf}`);
  li.dataset.what = step.what;
  li.dataset.node = step.node;
  const depth = step.path.split('/').filter((part) => /^\d+$/.test(part)).length - 1;
  li.style.setProperty('--depth', String(Math.min(Math.max(depth, 0), MAX_INDENT)));
  const about = make('span', 'about');
  const time = make('time', '', `+${seconds(step.at_ms - startedMs)} s · ${clock(step.at_ms)}`);
  time.dateTime = new Date(step.at_ms).toISOString();
  about.append(make('code', '', step.path), time, make('b', 'at', step.node));
  li.append(icon(sign, outcomeOf), make('span', 'what', text), about);
  return li;
}

function seconds(ms) {
  return (ms / 1000).toFixed(3);
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString(LANGUAGE, { hour12: false });
}

function day(ms) {
  return new Date(ms).toLocaleString(LANGUAGE);
}

// ---- the rest

$('view-chat').onclick = () => { showView('chat'); $('input').focus(); };
$('view-automations').onclick = () => showView('automations');
$('automation-back').onclick = () => { closeOne(); refreshAutomations(); };
document.addEventListener('visibilitychange', () => { if (!document.hidden && home.shown) refreshAutomations(); });
label();

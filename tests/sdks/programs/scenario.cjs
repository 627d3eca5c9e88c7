// An application with Sentry's SDK, as its documentation shows it: scenario.cjs SCENARIO DSN.
const Sentry = require('@sentry/node');

const [scenario, dsn] = process.argv.slice(2);
Sentry.init({
  dsn,
  release: 'shop@1.2.3',
  environment: 'staging',
  tracesSampleRate: scenario === 'transaction' ? 1 : undefined,
  integrations: scenario === 'logging' ? [Sentry.captureConsoleIntegration({ levels: ['error'] })] : [],
});

class OrderRefused extends Error {
  name = 'OrderRefused';
}

function charge(order) {
  throw new TypeError(`cannot charge order ${order}`);
}

function checkout(order) {
  try {
    charge(order);
  } catch (cause) {
    throw new OrderRefused(`order ${order} refused`, { cause });
  }
}

function fail(order = 17) {
  try {
    checkout(order);
  } catch (error) {
    Sentry.captureException(error);
  }
}

function fingerprinted(tenant) {
  Sentry.withScope((scope) => {
    scope.setFingerprint(['{{ default }}', tenant]);
    fail();
  });
}

const scenarios = {
  chained() {
    Sentry.setTag('tenant', 'acme');
    Sentry.setUser({ id: 'user-4711', email: 'ann@example.com' });
    Sentry.addBreadcrumb({ message: 'cart opened', category: 'ui' });
    fail();
  },
  message: () => Sentry.captureMessage('nightly import found no files', 'warning'),
  logging: () => console.error('stock of bolts is negative: -3'),
  twice() {
    fail(17);
    fail(18);
  },
  // Not one after the other: the SDK drops an event that equals the one before it.
  fingerprints: () => ['acme', 'globex', 'acme'].forEach(fingerprinted),
  attachment() {
    Sentry.withScope((scope) => {
      scope.addAttachment({ filename: 'core.bin', data: new Uint8Array(2_000_000) });
      fail();
    });
  },
  transaction: () => Sentry.startSpan({ op: 'http.server', name: 'POST /checkout' }, () => fail()),
  'check-in': () => Sentry.withMonitor('nightly-import', () => {}),
  unhandled: () => checkout(17),
};

scenarios[scenario]();
Sentry.flush(10_000);

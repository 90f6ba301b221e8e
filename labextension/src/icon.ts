import { LabIcon } from '@jupyterlab/ui-components';

/** A nabla. */
export const checkIcon = new LabIcon({
  name: 'jaxvjp:check',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" fill-rule="evenodd" d="M2 4h20L12 21zM6.5 7 12 16.5 17.5 7z"/>
</svg>`
});

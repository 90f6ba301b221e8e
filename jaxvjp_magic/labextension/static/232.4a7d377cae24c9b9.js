"use strict";(self.rspackChunkjaxvjp_magic=self.rspackChunkjaxvjp_magic||[]).push([[232],{24(e,t,n){var r=n(25),o=n.n(r),a=n(26),i=(n.n(a))()(o());i.push([e.id,`.jp-vjp-mark {
  max-width: 44em;
  white-space: normal;
}

.jp-vjp-mark p {
  margin: 0 0 4px;
}

.jp-vjp-mark code {
  font-family: var(--jp-code-font-family);
  white-space: pre-wrap;
}

.jp-vjp-grey {
  opacity: 0.75;
}

.cm-diagnosticAction.jp-vjp-fix {
  display: block;
  margin: 4px 0;
  padding: 3px 8px;
}

.cm-diagnosticAction.jp-vjp-fix:focus-visible {
  outline: 2px solid var(--jp-brand-color1);
}

.jp-vjp-summary ul {
  list-style: none;
  margin: 0;
  padding: 0;
}

.jp-vjp-summary button {
  background: none;
  border: 0;
  border-radius: var(--jp-border-radius);
  color: var(--jp-ui-font-color1);
  cursor: pointer;
  font: inherit;
  letter-spacing: normal;
  padding: 6px 8px;
  text-align: left;
  width: 100%;
}

.jp-vjp-summary button:hover,
.jp-vjp-summary button:focus-visible {
  background: var(--jp-layout-color2);
  outline: 2px solid var(--jp-brand-color1);
}

.jp-vjp-summary b {
  color: var(--jp-content-link-color);
  margin-right: 0.75em;
}

.jp-vjp-summary button:hover b {
  text-decoration: underline;
}

.jp-vjp-renaming pre {
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  margin: 0 0 8px;
  white-space: pre-wrap;
}

.jp-vjp-renaming pre > * {
  display: block;
  text-decoration: none;
}

.jp-vjp-renaming span {
  font-family: var(--jp-ui-font-family);
  opacity: 0.75;
}

.jp-vjp-renaming del::before {
  content: '- ';
}

.jp-vjp-renaming ins::before {
  content: '+ ';
  font-weight: 700;
}

.jp-vjp-renaming ins {
  font-weight: 700;
}

/* Elsewhere these are plain text: only here somebody answers them. */
button[data-commandlinker-command='jaxvjp:go-to-line'] {
  cursor: pointer !important;
  text-decoration: underline dotted !important;
  text-underline-offset: 3px !important;
}

button[data-commandlinker-command='jaxvjp:go-to-line']:focus-visible {
  outline: 2px solid var(--jp-brand-color1) !important;
}
`,""]),n.d(t,{},{A:i})},26(e){e.exports=function(e){var t=[];return t.toString=function(){return this.map(function(t){var n="",r=void 0!==t[5];return t[4]&&(n+="@supports (".concat(t[4],") {")),t[2]&&(n+="@media ".concat(t[2]," {")),r&&(n+="@layer".concat(t[5].length>0?" ".concat(t[5]):""," {")),n+=e(t),r&&(n+="}"),t[2]&&(n+="}"),t[4]&&(n+="}"),n}).join("")},t.i=function(e,n,r,o,a){"string"==typeof e&&(e=[[null,e,void 0]]);var i={};if(r)for(var p=0;p<this.length;p++){var c=this[p][0];null!=c&&(i[c]=!0)}for(var s=0;s<e.length;s++){var u=[].concat(e[s]);r&&i[u[0]]||(void 0!==a&&(void 0===u[5]||(u[1]="@layer".concat(u[5].length>0?" ".concat(u[5]):""," {").concat(u[1],"}")),u[5]=a),n&&(u[2]&&(u[1]="@media ".concat(u[2]," {").concat(u[1],"}")),u[2]=n),o&&(u[4]?(u[1]="@supports (".concat(u[4],") {").concat(u[1],"}"),u[4]=o):u[4]="".concat(o)),t.push(u))}},t}},25(e){e.exports=function(e){return e[1]}},18(e){var t=[];function n(e){for(var n=-1,r=0;r<t.length;r++)if(t[r].identifier===e){n=r;break}return n}function r(e,r){for(var o={},a=[],i=0;i<e.length;i++){var p=e[i],c=r.base?p[0]+r.base:p[0],s=o[c]||0,u="".concat(c," ").concat(s);o[c]=s+1;var l=n(u),d={css:p[1],media:p[2],sourceMap:p[3],supports:p[4],layer:p[5]};if(-1!==l)t[l].references++,t[l].updater(d);else{var m=function(e,t){var n=t.domAPI(t);return n.update(e),function(t){t?(t.css!==e.css||t.media!==e.media||t.sourceMap!==e.sourceMap||t.supports!==e.supports||t.layer!==e.layer)&&n.update(e=t):n.remove()}}(d,r);r.byIndex=i,t.splice(i,0,{identifier:u,updater:m,references:1})}a.push(u)}return a}e.exports=function(e,o){var a=r(e=e||[],o=o||{});return function(e){e=e||[];for(var i=0;i<a.length;i++){var p=n(a[i]);t[p].references--}for(var c=r(e,o),s=0;s<a.length;s++){var u=n(a[s]);0===t[u].references&&(t[u].updater(),t.splice(u,1))}a=c}}},20(e){var t={};e.exports=function(e,n){var r=function(e){if(void 0===t[e]){var n=document.querySelector(e);if(window.HTMLIFrameElement&&n instanceof window.HTMLIFrameElement)try{n=n.contentDocument.head}catch(e){n=null}t[e]=n}return t[e]}(e);if(!r)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");r.appendChild(n)}},22(e){e.exports=function(e){var t=document.createElement("style");return e.setAttributes(t,e.attributes),e.insert(t,e.options),t}},21(e,t,n){e.exports=function(e){var t=n.nc;t&&e.setAttribute("nonce",t)}},19(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var t=e.insertStyleElement(e);return{update:function(n){var r,o,a;r="",n.supports&&(r+="@supports (".concat(n.supports,") {")),n.media&&(r+="@media ".concat(n.media," {")),(o=void 0!==n.layer)&&(r+="@layer".concat(n.layer.length>0?" ".concat(n.layer):""," {")),r+=n.css,o&&(r+="}"),n.media&&(r+="}"),n.supports&&(r+="}"),(a=n.sourceMap)&&"u">typeof btoa&&(r+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(a))))," */")),e.styleTagTransform(r,t,e.options)},remove:function(){var e;null===(e=t).parentNode||e.parentNode.removeChild(e)}}}},23(e){e.exports=function(e,t){if(t.styleSheet)t.styleSheet.cssText=e;else{for(;t.firstChild;)t.removeChild(t.firstChild);t.appendChild(document.createTextNode(e))}}},17(e,t,n){var r=n(18),o=n.n(r),a=n(19),i=n.n(a),p=n(20),c=n.n(p),s=n(21),u=n.n(s),l=n(22),d=n.n(l),m=n(23),f=n.n(m),v=n(24),j={};j.styleTagTransform=f(),j.setAttributes=u(),j.insert=c().bind(null,"head"),j.domAPI=i(),j.insertStyleElement=d(),o()(v.A,j),v.A&&v.A.locals&&v.A.locals}}]);